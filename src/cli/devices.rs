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
    retired: bool,
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
    let lines = listed.iter().map(|device| Line {
        device: device.device.to_hex(),
        label: &device.label,
        user: folder.name_of(device.user),
        this: device.device == this,
        last_seen: device.last_seen.map(moment::rfc3339),
        acknowledged: device.acknowledged.0,
        retired: device.retired,
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
    let far = match line.acknowledged {
        0 => "has not said how far it is".to_owned(),
        seq if line.this => format!("is at event {seq}"),
        seq => format!("was at event {seq}"),
    };
    let seen = line.last_seen.as_deref().unwrap_or("never");
    let state = match (line.this, line.retired) {
        (_, true) => "(retired)",
        (true, _) => "(this device)",
        _ => "",
    };
    vec![
        line.label.to_owned(),
        line.device[..8].to_owned(),
        line.user.clone(),
        format!("last here {seen}"),
        far,
        state.to_owned(),
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
