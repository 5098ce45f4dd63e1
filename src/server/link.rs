//! Accounts, tickets, namespaces, and how a device becomes part of one.

use super::{Server, access, answer::Refusal, new_secret};
use crate::{
    actors::{
        issuers::Issuer,
        namespace::State,
        rights::Asker,
        user::{Mounted, Mounts, RoomFor},
    },
    random::random,
};
use annals_engine::{
    directory::is_account_name,
    protocol::{
        Account, AccountChange, Code, Credential, HOME, LABEL_BYTES_MAX, LinkRequest, Linked, NamespaceInfo,
        NewAccount, OwnAccount, Problem, Quota, TICKET_MS, Ticket, link_message, normal_ticket, spell_ticket,
        with_fingerprint,
    },
};
use annals_events::{DeviceId, Hash, NamespaceId, Role, UserId};
use ed25519_dalek::{Signature, VerifyingKey};
use std::net::IpAddr;

/// Adds an account.
pub(super) async fn add_account(server: &Server, new: NewAccount) -> Result<Account, Refusal> {
    if !is_account_name(&new.name) {
        return Err(Code::BadName.into());
    }
    if server.node.directory.read(|directory| directory.account_named(&new.name).is_some()) {
        return Err(Code::AccountExists.into());
    }
    let password = match new.password {
        Some(password) => Some(access::hash_password(server, password).await?),
        None => None,
    };
    let quota = bytes_of(server, new.quota);
    let user = UserId(random());
    let append = server.node.directory.append(server.node.now_ms(), |directory| {
        directory.create_account(random(), user, &new.name, password, quota)
    });
    append.await?;
    tracing::info!(name = new.name, "account added");
    Ok(Account { user, name: new.name })
}

/// Changes an account: what is not named stays.
pub(super) async fn change_account(
    server: &Server,
    name: &str,
    change: AccountChange,
) -> Result<OwnAccount, Refusal> {
    let known = server.node.directory.read(|directory| {
        directory.account_named(name).map(|(user, account)| (user, account.password.clone(), account.quota))
    });
    let (user, password, quota) = known.ok_or(Code::UnknownUser)?;
    let password = match change.password {
        Some(password) => Some(access::hash_password(server, password).await?),
        None => password,
    };
    let quota = change.quota.map_or(quota, |quota| bytes_of(server, quota));
    let append = server
        .node
        .directory
        .append(server.node.now_ms(), |directory| directory.change_account(random(), user, password, quota));
    append.await?;
    tracing::info!(name, "account changed");
    let used = server.node.ask_user(user, RoomFor(None)).await??.used;
    Ok(OwnAccount { user, name: name.to_owned(), quota, used })
}

fn bytes_of(server: &Server, quota: Quota) -> Option<u64> {
    match quota {
        Quota::Default => server.node.quota_default,
        Quota::Unlimited => None,
        Quota::Bytes(bytes) => Some(bytes),
    }
}

/// The account of that id.
pub(super) fn account(server: &Server, user: UserId) -> Account {
    let name =
        server.node.directory.read(|directory| directory.account(user).map(|account| account.name.clone()));
    Account { user, name: name.unwrap_or_default() }
}

/// Makes a namespace of `owner`.
pub(super) async fn open_namespace(
    server: &Server,
    owner: UserId,
    label: &str,
) -> Result<NamespaceId, Refusal> {
    check_label(label)?;
    if server.node.directory.read(|directory| directory.namespace_named(owner, label).is_some()) {
        return Err(Code::NamespaceExists.into());
    }
    // First its stream, then the directory: a namespace that is listed can be read.
    let id = NamespaceId(random());
    server.node.ask_namespace(id, State::Begun { owner, label: label.into() }).await??;
    let append = server
        .node
        .directory
        .append(server.node.now_ms(), |directory| directory.open_namespace(random(), id, owner, label));
    append.await?;
    tracing::info!(namespace = %id, label, "namespace opened");
    Ok(id)
}

/// One's home namespace, made at need.
pub(super) async fn home_of(server: &Server, user: UserId) -> Result<NamespaceId, Refusal> {
    namespace_called(server, user, HOME).await
}

/// One's own namespace of that label, made at need.
pub(super) async fn namespace_called(
    server: &Server,
    user: UserId,
    label: &str,
) -> Result<NamespaceId, Refusal> {
    let known = || server.node.directory.read(|directory| directory.namespace_named(user, label));
    if let Some(namespace) = known() {
        return Ok(namespace);
    }
    match open_namespace(server, user, label).await {
        // Somebody else was faster.
        Err(Refusal(problem, _)) if problem.code == Code::NamespaceExists => {
            known().ok_or_else(|| Code::UnknownNamespace.into())
        }
        opened => opened,
    }
}

/// The namespaces that `user` may read.
pub(super) async fn mounts(server: &Server, user: UserId) -> Result<Mounts, Refusal> {
    Ok(server.node.ask_user(user, Mounted).await??)
}

/// Each of `mounts`, for people.
pub(super) fn namespaces(server: &Server, mounts: &Mounts) -> Vec<NamespaceInfo> {
    let info = mounts.iter().filter_map(|(id, (role, summary))| {
        let state = server.node.directory.read(|directory| directory.namespace(*id).cloned())?;
        let owner = account(server, state.owner);
        Some(NamespaceInfo { id: *id, label: state.label, owner, role: *role, seq: summary.head.seq })
    });
    info.collect()
}

/// The namespace that `user` means by `name`.
async fn resolve(server: &Server, user: UserId, name: &str) -> Result<NamespaceId, Refusal> {
    let known = namespaces(server, &mounts(server, user).await?);
    let named = |info: &&NamespaceInfo| {
        info.id.to_hex() == name
            || info.label == name
            || format!("{}/{}", info.owner.name, info.label) == name
    };
    let mut fits: Vec<&NamespaceInfo> = known.iter().filter(named).collect();
    fits.sort_by_key(|info| info.owner.user != user);
    let own_first = fits.first().is_some_and(|info| info.owner.user == user);
    match fits.as_slice() {
        [one] => Ok(one.id),
        [first, ..] if own_first => Ok(first.id),
        [] => Err(Problem::new(
            Code::UnknownNamespace,
            format!("there is no namespace {name:?} that one may read"),
        )
        .into()),
        _ => {
            let detail = format!("several namespaces are called {name:?}: say OWNER/{name}");
            Err(Problem::new(Code::UnknownNamespace, detail).into())
        }
    }
}

/// A ticket for the next device of `asker`, whom the admin speaks for if that is no device.
pub(super) async fn issue_ticket(
    server: &Server,
    asker: Asker,
    namespace: NamespaceId,
) -> Result<Ticket, Refusal> {
    server.node.allowed(asker, namespace, Role::Viewer).await?;
    let (secret, now) = (random::<16>(), server.node.now_ms());
    let expires = now + TICKET_MS;
    let hash = access::secret_hash(&secret);
    let append = server.node.directory.append(now, |directory| match asker.device {
        // It was cut off meanwhile, and so were its tickets.
        Some(device) if directory.user_of(device).is_none() => Err(Code::TokenRevoked),
        _ => directory.issue_ticket(hash, asker.user, namespace, expires),
    });
    let issuer = asker.device.map_or(Issuer::Admin, Issuer::Device);
    server.node.issuers.note(hash, issuer, expires, now);
    append.await?;
    let code = spell_ticket(&secret);
    let code = server.fingerprint.map_or_else(|| code.clone(), |print| with_fingerprint(&code, &print));
    Ok(Ticket { code, expires, namespace })
}

/// Links a device.
pub(super) async fn link(
    server: &Server,
    from: Option<IpAddr>,
    request: LinkRequest,
) -> Result<Linked, Refusal> {
    check_label(&request.label)?;
    let now = server.node.now_ms();
    server.challenges.take(request.challenge, now)?;
    prove(&request, &server.began.log)?;
    let (user, namespace, ticket) = match &request.credential {
        Credential::Password { user, password } => {
            let user = access::log_in(server, from, user, password.clone()).await?;
            (user, namespace_for(server, user, &request).await?, None)
        }
        Credential::Ticket(code) => {
            let hash = access::secret_hash(&normal_ticket(code).ok_or(Code::TicketUnknown)?);
            let ticket = server.node.directory.read(|directory| directory.ticket(hash, now).cloned())?;
            (ticket.user, ticket.namespace, Some(hash))
        }
    };
    let mounts = mounts(server, user).await?;
    let info = namespaces(server, &mounts).into_iter().find(|info| info.id == namespace);
    let info = info.ok_or(Code::UnknownNamespace)?;
    let account = account(server, user);
    let (token, device) = (new_secret(), DeviceId::of_key(&request.device));
    // The ticket is used up before the device can act: of two that show it at once, one is linked.
    let hash = access::secret_hash(token.as_bytes());
    let append =
        server.node.directory.append(now, |directory| directory.issue_token(hash, user, device, ticket, now));
    append.await?;
    let linked = State::Linked {
        key: request.device,
        user,
        user_name: account.name.clone(),
        label: request.label,
        continues: request.continues,
    };
    server.node.ask_namespace(namespace, linked).await??;
    let seq = server.node.summary(namespace).await?.head.seq;
    tracing::info!(%device, user = account.name, namespace = %namespace, "device linked");
    Ok(Linked { token, device, account, namespace: NamespaceInfo { seq, ..info }, server: server.info() })
}

async fn namespace_for(server: &Server, user: UserId, request: &LinkRequest) -> Result<NamespaceId, Refusal> {
    let Some(name) = &request.namespace else { return home_of(server, user).await };
    if name == HOME {
        return home_of(server, user).await;
    }
    match resolve(server, user, name).await {
        Err(_) if request.create => open_namespace(server, user, name).await,
        resolved => resolved,
    }
}

fn prove(request: &LinkRequest, log: &NamespaceId) -> Result<(), Code> {
    let message = link_message(&request.challenge, log, &request.device);
    let halves = request.proof.split_at_checked(64).ok_or(Code::Proof)?;
    let half = |text: &str| Hash::from_hex(text).ok_or(Code::Proof);
    let signature = [half(halves.0)?.0, half(halves.1)?.0].concat();
    let signature = Signature::from_slice(&signature).map_err(|_| Code::Proof)?;
    let key = VerifyingKey::from_bytes(&request.device.0).map_err(|_| Code::Proof)?;
    key.verify_strict(&message, &signature).map_err(|_| Code::Proof)
}

fn check_label(label: &str) -> Result<(), Refusal> {
    let fits = (1..=LABEL_BYTES_MAX).contains(&label.len()) && !label.chars().any(char::is_control);
    if fits {
        return Ok(());
    }
    let detail = format!("{label:?} cannot be used as a label: 1 to {LABEL_BYTES_MAX} bytes on one line");
    Err(Problem::new(Code::BadName, detail).into())
}

/// Cuts a device off in `namespace`, and everywhere by its tokens. One's own, or anybody's for an owner.
pub(super) async fn retire(
    server: &Server,
    caller: Asker,
    namespace: NamespaceId,
    device: DeviceId,
) -> Result<(), Refusal> {
    let (role, _) = server.node.allowed(caller, namespace, Role::Viewer).await?;
    let devices = server.node.ask_namespace(namespace, crate::actors::namespace::Devices).await??;
    let known = devices.iter().find(|info| info.device == device).ok_or(Code::UnknownDevice)?;
    if known.user != caller.user && role < Role::Owner {
        return Err(Code::Forbidden.into());
    }
    server.node.ask_namespace(namespace, State::Retired(device)).await??;
    server.node.cut_off(device).await?;
    tracing::info!(%device, namespace = %namespace, "device retired");
    Ok(())
}
