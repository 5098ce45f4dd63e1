//! `annals devices`: who exchanges with this namespace, and cutting one of them off.

use super::{
    arguments::Devices,
    failure::{Exit, Failure},
    moment,
    talk::Talk,
};
use crate::client::Folder;
use annals_engine::protocol::DeviceInfo;
use serde::Serialize;

#[derive(Serialize)]
struct Line<'a> {
    device: String,
    label: &'a str,
    this: bool,
    last_seen: Option<String>,
    acknowledged: u64,
    retired: bool,
}

pub(super) fn run(devices: &Devices, folder: &mut Folder, talk: &mut Talk<'_>) -> Result<Exit, Failure> {
    let namespace = folder.binding().namespace;
    if let Some(label) = &devices.retire {
        let known = folder.http()?.devices(namespace)?;
        let device = named(label, &known)?;
        folder.http()?.retire(namespace, device.device)?;
        talk.remark(format_args!(
            "retired {label}: nothing from it is taken any more; its files stay where they are"
        ))?;
    }
    let this = folder.binding().device;
    let listed = folder.http()?.devices(namespace)?;
    let lines = listed.iter().map(|device| Line {
        device: device.device.to_hex(),
        label: &device.label,
        this: device.device == this,
        last_seen: device.last_seen.map(moment::rfc3339),
        acknowledged: device.acknowledged.0,
        retired: device.retired,
    });
    if talk.output.json {
        talk.json(&lines.collect::<Vec<_>>())?;
        return Ok(Exit::Done);
    }
    for line in lines {
        let state = match (line.this, line.retired) {
            (true, _) => "  (this device)",
            (_, true) => "  (retired)",
            _ => "",
        };
        let seen = line.last_seen.as_deref().unwrap_or("never");
        talk.line(format_args!("{:16} {}  last here {seen}{state}", line.label, &line.device[..8]))?;
    }
    Ok(Exit::Done)
}

/// The device of that label, or whose id begins so, if there is just one that is not retired.
fn named<'a>(label: &str, devices: &'a [DeviceInfo]) -> Result<&'a DeviceInfo, Failure> {
    let is_meant = |d: &&DeviceInfo| {
        !d.retired && (d.label == label || label.len() >= 8 && d.device.to_hex().starts_with(label))
    };
    match devices.iter().filter(is_meant).collect::<Vec<_>>().as_slice() {
        [one] => Ok(one),
        [] => Err(Failure::usage(format!("there is no device `{label}`"))
            .hint("`annals devices FOLDER` lists them")),
        _ => Err(Failure::usage(format!("several devices are called `{label}`"))
            .hint("give the beginning of the id instead")),
    }
}
