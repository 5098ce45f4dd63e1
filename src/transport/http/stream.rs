//! A connection to the server that is no request of HTTP's: plain, or by TLS. All that has to be known about one.

use super::{Answer, Http};
use annals_engine::transport::TransportError;
use rustls::{ClientConnection, StreamOwned, pki_types::ServerName};
use std::{
    io::{self, Read, Write},
    net::{TcpStream, ToSocketAddrs},
    sync::Arc,
};
use tungstenite::http::Uri;

/// What the bytes go over.
pub(super) enum Stream {
    Plain(TcpStream),
    Sealed(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Stream {
    /// What is below.
    pub(super) fn tcp(&self) -> &TcpStream {
        match self {
            Self::Plain(tcp) => tcp,
            Self::Sealed(sealed) => &sealed.sock,
        }
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(tcp) => tcp.read(buffer),
            Self::Sealed(sealed) => sealed.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(tcp) => tcp.write(bytes),
            Self::Sealed(sealed) => sealed.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(tcp) => tcp.flush(),
            Self::Sealed(sealed) => sealed.flush(),
        }
    }
}

impl Http {
    /// A connection to the host of `uri`, by TLS where the server's address says so.
    pub(super) fn stream_to(&self, uri: &Uri) -> Answer<Stream> {
        let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
        let is_sealed = self.base.starts_with("https://");
        let port = uri.port_u16().unwrap_or(if is_sealed { 443 } else { 80 });
        let mut tcp = connect(host, port).map_err(|error| self.unreached(&error))?;
        if !is_sealed {
            return Ok(Stream::Plain(tcp));
        }
        let name = ServerName::try_from(host.to_owned()).map_err(|error| self.malformed(error))?;
        let connection = ClientConnection::new(Arc::clone(&self.tls), name);
        let mut connection = connection.map_err(|error| self.malformed(error))?;
        match connection.complete_io(&mut tcp) {
            Ok(_) => Ok(Stream::Sealed(Box::new(StreamOwned::new(connection, tcp)))),
            Err(error) => Err(self.untrusted().unwrap_or_else(|| self.unreached(&error))),
        }
    }

    pub(super) fn unreached(&self, error: &io::Error) -> TransportError {
        let what = error.to_string();
        self.other_scheme(&what).unwrap_or(TransportError::Unreachable { server: self.base.clone(), what })
    }
}

fn connect(host: &str, port: u16) -> io::Result<TcpStream> {
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for address in (host, port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, Http::CONNECT) {
            Ok(tcp) => {
                tcp.set_nodelay(true)?;
                tcp.set_read_timeout(Some(Http::CONNECT))?;
                tcp.set_write_timeout(Some(Http::CONNECT))?;
                return Ok(tcp);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}
