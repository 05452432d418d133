//! TLS with clients.

use std::rc::Rc;

use tokio::net::TcpStream;

use crate::h1;
use crate::listen::Conn;
use crate::worker::Worker;

/// Serves a client until its connection ends. `prefix` has been read from it already.
pub(crate) async fn serve(worker: Rc<Worker>, client: TcpStream, prefix: Vec<u8>, conn: Conn) {
    h1::serve(worker, client, prefix, conn).await;
}
