//! What this server lost comes back from its devices. Records are believed by their receipts; a device that was forgotten
//! shows that it holds its key, and is let in again once its link is known.

use super::{Server, access, answer::Refusal};
use actix_web::HttpRequest;
use annals_engine::protocol::{Code, HandBack, HandedBack, KeyProof, Problem, link_message};
use annals_events::{DeviceId, NamespaceId, Record};
use ed25519_dalek::{Signature, VerifyingKey};
use std::sync::Arc;

/// Takes records back.
pub(super) async fn take(
    server: &Server,
    request: &HttpRequest,
    namespace: NamespaceId,
    lost: HandBack,
) -> Result<HandedBack, Refusal> {
    let token = access::token_of(request)?;
    let device = match &lost.proof {
        None => access::device(server, request)?.0,
        Some(proof) => prove(server, proof)?,
    };
    let records: Result<Vec<Arc<Record>>, _> =
        lost.records.into_iter().map(|bytes| Record::decode(bytes.into_vec()).map(Arc::new)).collect();
    let records = records.map_err(|error| Problem::new(Code::BatchMalformed, error.to_string()))?;
    let answer = server.node.take_back(namespace, Arc::new(records)).await?;
    let welcome = server.node.welcome(namespace, device, token).await?;
    Ok(HandedBack { welcome, ..answer })
}

fn prove(server: &Server, proof: &KeyProof) -> Result<DeviceId, Code> {
    server.challenges.take(proof.challenge, server.node.now_ms())?;
    let message = link_message(&proof.challenge, &server.began.log, &proof.device);
    let signature = Signature::from_slice(&proof.signature).map_err(|_| Code::Proof)?;
    let key = VerifyingKey::from_bytes(&proof.device.0).map_err(|_| Code::Proof)?;
    key.verify_strict(&message, &signature).map_err(|_| Code::Proof)?;
    Ok(DeviceId::of_key(&proof.device))
}
