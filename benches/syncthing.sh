#!/usr/bin/env bash
# How benches/peers.sh has Syncthing: two instances on loopback that are told to discover, relay, report and upgrade nothing,
# and are asked over a socket in their homes. Everything else is as Syncthing has it, but that it does not lower its priority.
# Needs the processes of benches/peers.sh, and $place.
# shellcheck disable=SC2034,SC2154  # Names are given to it, and taken from it.
set -euo pipefail

# Two instances that know each other and nobody else: homes $place/st-a and $place/st-b, processes ${st[a]} and ${st[b]}.
declare -A st st_id
syncthing_pair() {
    local side home
    for side in a b; do
        home=$place/st-$side
        discard "$home"
        quietly syncthing generate --home "$home" --no-default-folder --skip-port-probing
        sed -i -e 's#<listenAddress>.*<#<listenAddress>tcp://127.0.0.1:0<#' \
            -e 's#<\(globalAnnounceEnabled\|localAnnounceEnabled\|relaysEnabled\|natEnabled\)>true<#<\1>false<#' \
            -e 's#<\(startBrowser\|crashReportingEnabled\|setLowPriority\)>true<#<\1>false<#' \
            -e 's#<urAccepted>.*<#<urAccepted>-1<#' -e 's#<autoUpgradeIntervalH>.*<#<autoUpgradeIntervalH>0<#' \
            -e 's#<stunKeepaliveStartS>.*<#<stunKeepaliveStartS>0<#' -e 's#<apikey>.*<#<apikey>peers<#' \
            -e "s#<address>127.0.0.1:8384<#<address>$home/api<#" "$home/config.xml"
        st_id[$side]=$(syncthing serve --home "$home" --device-id)
        STMONITORED=yes begin "$home.log" syncthing serve --home "$home" --no-browser --no-restart --no-upgrade
        st[$side]=$started
        await grep -q 'GUI and API listening' "$home.log"
        await grep -q 'TCP listener' "$home.log"
    done
    local listens
    listens=$(sed -n 's/.*TCP listener (\(127.0.0.1:[0-9]*\)) starting/\1/p' "$place/st-a.log")
    ask a -X PUT -d "{\"deviceID\":\"${st_id[b]}\",\"addresses\":[\"dynamic\"]}" "config/devices/${st_id[b]}"
    ask b -X PUT -d "{\"deviceID\":\"${st_id[a]}\",\"addresses\":[\"tcp://$listens\"]}" "config/devices/${st_id[a]}"
    await connected
}

ask() {
    local side=$1 what=${*: -1}
    curl -sS --fail --unix-socket "$place/st-$side/api" -H 'X-API-Key: peers' "${@:2:$#-2}" "http://localhost/rest/$what"
}
connected() { ask b system/connections | grep -q '"connected": true'; }

# Shares a folder of one side with the other; a change is taken up after so many seconds.
share() {
    local side=$1 folder=$2 delay=$3
    mkdir -p "$folder"
    ask "$side" -X PUT -d "{\"id\":\"peers\",\"path\":\"$folder\",\"rescanIntervalS\":0,\"fsWatcherDelayS\":$delay,
        \"devices\":[{\"deviceID\":\"${st_id[a]}\"},{\"deviceID\":\"${st_id[b]}\"}]}" config/folders/peers
}

syncthing_has_all() {
    local status
    status=$(ask b 'db/status?folder=peers' | tr -d ' \n')
    [[ $status == *'"localFiles":'"$regular",* && $status == *'"needTotalItems":0'* && $status == *'"state":"idle"'* ]]
}
