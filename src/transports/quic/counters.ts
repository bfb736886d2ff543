/**
 * What one endpoint has counted since it began, as plain numbers that whoever owns it reads. Every datagram that leads to nothing is counted under its reason.
 */
export class QuicCounters {
  /** Datagrams that came from the socket, and those that another shard sent on. */
  received = 0;
  receivedForwarded = 0;
  sent = 0;
  /** Connections that were begun, and those whose handshake was completed. */
  accepted = 0;
  established = 0;
  /** Connections at the moment, those whose handshake is not complete among them. */
  connections = 0;
  handshakes = 0;
  /** Handshakes that ended without a connection: refused by either side, or too slow. */
  handshakesFailed = 0;
  /** Established connections whose client has moved to another address. */
  migrations = 0;
  resumptions = 0;
  streams = 0;
  unidirectionalRefused = 0;
  retriesSent = 0;
  versionNegotiationsSent = 0;
  statelessResetsSent = 0;
  forwarded = 0;

  /** Not a QUIC packet, or one that no client sends. */
  droppedMalformed = 0;
  /** An Initial in too small a datagram, or with too short a connection ID. */
  droppedSmallInitial = 0;
  /** Of a connection that is not known, and that cannot begin one. */
  droppedUnknown = 0;
  /** Answers to strangers were used up for the moment. */
  droppedRateLimited = 0;
  /** The other shard takes no more. */
  droppedForward = 0;
  /** Tokens that are too old or another client's. */
  droppedToken = 0;
  /** New clients above the limit of connections, of handshakes, or after `stopAccepting`. */
  droppedConnections = 0;
  droppedHandshakes = 0;
  droppedStopping = 0;
  /** New clients at addresses that the listener does not allow. */
  droppedDenied = 0;
  /** First datagrams whose other parts did not come, or came too late. */
  droppedHellos = 0;
  /** Refused by quiche: not decryptable, or against the protocol. */
  droppedByQuiche = 0;
}
