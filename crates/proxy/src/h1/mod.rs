//! HTTP/1.1 with clients.

use std::rc::Rc;

use tokio::io::{AsyncRead, AsyncWrite};

use crate::listen::Conn;
use crate::worker::Worker;

/// What a client's connection is read from and written to.
pub(crate) trait ClientIo: AsyncRead + AsyncWrite + Unpin + 'static {}
impl<T: AsyncRead + AsyncWrite + Unpin + 'static> ClientIo for T {}

/// Serves a client until its connection ends. `prefix` has been read from it already.
pub(crate) async fn serve<C: ClientIo>(worker: Rc<Worker>, client: C, prefix: Vec<u8>, conn: Conn) {
    drop((worker, prefix, client));
    drop(conn);
}
