//! `annals devices`: who exchanges with this namespace, and cutting one of them off.

use super::{
    arguments::Devices,
    failure::{Exit, Failure},
    moment,
    talk::Talk,
};
use crate::client::Folder;
use annals_engine::protocol::DeviceInfo;
use annals_events::DeviceId;
use serde::Serialize;

#[derive(Serialize)]
struct Line<'a> {
    device: String,
    label: &'a str,
    user: String,
    this: bool,
    last_seen: Option<String>,
    acknowledged: u64,
    fetched: Option<u64>,
    retired: bool,
    continues: Option<String>,
    continued_by: Option<String>,
}

pub(super) fn run(devices: &Devices, folder: &mut Folder, talk: &mut Talk<'_>) -> Result<Exit, Failure> {
    let namespace = folder.binding().namespace;
    let this = folder.binding().device;
    if let Some(label) = &devices.retire {
        let known = folder.http()?.devices(namespace)?;
        let device = named(label, &known, this)?;
        folder.http()?.retire(namespace, device.device)?;
        talk.remark(format_args!(
            "retired {}: nothing from it is taken any more; its files stay where they are",
            device.label
        ))?;
    }
    let mut listed = folder.http()?.devices(namespace)?;
    // How far this one is nobody knows better; the log has it from when it last said so.
    let own = folder.status().cursor;
    listed.iter_mut().filter(|device| device.device == this).for_each(|device| {
        device.acknowledged.0 = device.acknowledged.0.max(own);
    });
    // One that was copied, or put back, goes on under another id: which that is, where one of that folder is.
    let heirs: Vec<(DeviceId, DeviceId)> =
        listed.iter().filter_map(|device| Some((device.continues?, device.device))).collect();
    let lines = listed.iter().map(|device| Line {
        device: device.device.to_hex(),
        label: &device.label,
        user: folder.name_of(device.user),
        this: device.device == this,
        last_seen: device.last_seen.map(moment::rfc3339),
        acknowledged: device.acknowledged.0,
        fetched: device.fetched.map(|seq| seq.0),
        retired: device.retired,
        continues: device.continues.map(|before| before.to_hex()),
        continued_by: heirs
            .iter()
            .find(|(before, _)| *before == device.device)
            .map(|(_, heir)| heir.to_hex()),
    });
    let lines: Vec<Line<'_>> = lines.collect();
    if talk.output.json {
        talk.json(&lines)?;
    } else {
        talk.table(&lines.iter().map(row).collect::<Vec<_>>())?;
    }
    Ok(Exit::Done)
}

fn row(line: &Line<'_>) -> Vec<String> {
    // What it said may be a day old; what it was given is known.
    let far = match (line.acknowledged, line.fetched) {
        (seq, _) if line.this => format!("is at event {seq}"),
        (seq, Some(given)) if given >= seq => format!("was at event {given}"),
        (0, _) => "has not said how far it is".to_owned(),
        (seq, _) => format!("was at event {seq} or later"),
    };
    let seen = line.last_seen.as_deref().unwrap_or("never");
    let short = |id: &String| id[..DIGITS_MIN].to_owned();
    let state = [
        line.retired.then(|| "retired".to_owned()),
        (line.this && !line.retired).then(|| "this device".to_owned()),
        line.continues.as_ref().map(|before| format!("was copied or put back from {}", short(before))),
        line.continued_by.as_ref().map(|heir| format!("its copy goes on as {}", short(heir))),
    ];
    let state: Vec<String> = state.into_iter().flatten().collect();
    vec![
        line.label.to_owned(),
        line.device[..DIGITS_MIN].to_owned(),
        line.user.clone(),
        format!("last here {seen}"),
        far,
        if state.is_empty() { String::new() } else { format!("({})", state.join("; ")) },
    ]
}

/// Digits of an id that are enough to name a device.
const DIGITS_MIN: usize = 8;

/// The device of that label, or whose id begins so, if there is just one that is not retired, and it is another one.
fn named<'a>(label: &str, devices: &'a [DeviceInfo], this: DeviceId) -> Result<&'a DeviceInfo, Failure> {
    let begins = |device: &DeviceInfo| label.len() >= DIGITS_MIN && device.device.to_hex().starts_with(label);
    let meant: Vec<&DeviceInfo> =
        devices.iter().filter(|device| device.label == label || begins(device)).collect();
    let at_work: Vec<&DeviceInfo> = meant.iter().copied().filter(|device| !device.retired).collect();
    match at_work.as_slice() {
        [one] if one.device == this => Err(Failure::usage(format!("`{label}` is this very device"))
            .hint("`annals unlink FOLDER` retires it and forgets the link; its files stay")),
        [one] => Ok(one),
        [] if !meant.is_empty() => Err(Failure::usage(format!("the device `{label}` is retired already"))
            .hint("nothing has to be done: nothing from it is taken any more")),
        [] => Err(Failure::usage(format!("there is no device `{label}`"))
            .hint("`annals devices FOLDER` lists them")),
        several => {
            let ids: Vec<String> =
                several.iter().map(|device| device.device.to_hex()[..DIGITS_MIN].to_owned()).collect();
            Err(Failure::usage(format!("{} devices are called `{label}`", several.len()))
                .hint(format!("say which by its id: --retire {}", ids.join(" or --retire "))))
        }
    }
}
