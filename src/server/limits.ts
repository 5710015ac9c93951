/** Bounds of the node protocol: what is over them ends the stream with a status, never the server (DESIGN section 9). */
export const LIMITS = {
  /** One message on the wire. The largest honest ones: 4096 requests of a few KiB, or a 1 MiB event log. */
  messageBytes: 8 * 1024 * 1024,
  /** One message of an enrolment: a chunk, with what is around it. */
  enrolMessageBytes: 600 * 1024,
  /** One chunk of the measurement list or the event log. */
  chunkBytes: 512 * 1024,
  eventLogBytes: 1024 * 1024,
  requestsPerEvidence: 4096,
  containersPerNode: 4096,
  containerBytes: 256 * 1024,
  recordBytes: 64 * 1024,
  subjectBytes: 2048,
  /** Subscriptions (ids not yet released) of one session. */
  subscriptionsPerNode: 8192,
  /** Identities that one request may get. */
  identitiesPerRequest: 64,
  /** Entries with an owner above the pool base and no recorded range, kept until their container is told. */
  orphanEntries: 100_000,
  /** Entries that no quote covers yet: each is held in memory until one does. */
  unquotedEntries: 1_100_000,
  /** Bad entries kept and stored for one domain; more change no verdict. */
  taintsPerDomain: 256,
  parkedNodes: 1024,
  watchers: 32,
  certificateBytes: 16 * 1024,
  intermediates: 8,
  csrBytes: 16 * 1024,
  publicAreaBytes: 2048,
  attestBytes: 2048,
  signatureBytes: 2048,
  textBytes: 1024,
  /**
   * What a peer may send ahead on one stream. What comes at once stays a buffer of the connection for as long as that
   * lives: thousands of small nodes get little, and who has much to say gets more.
   */
  windowBytes: 16 * 1024,
  wideWindowBytes: 1024 * 1024,
  /** From so much of the list, or so many containers, on. */
  wideListBytes: 2 * 1024 * 1024,
  wideContainers: 32,
  /** TLS connections at once beyond the configured sessions, and from one address. */
  connections: 4096,
  connectionsPerAddress: 64,
  /** Enrolments at once: each may hold a replay. */
  enrolments: 32,
  handshakeMs: 10_000,
  /** A connection with no open stream. */
  idleMs: 30_000,
  /** From the start of a stream to its hello. */
  helloMs: 10_000,
  /** One whole enrolment. A discrete TPM takes seconds for activation and quote. */
  enrolmentMs: 120_000,
  pingMs: 15_000,
  /** Messages waiting to be sent to an agent that does not read. */
  sendQueue: 16_384,
  /** A container's own state before its change is still accepted in a record for this long. */
  staleRecordMs: 10_000,
  /** How long an entry of an unknown range waits for its container before it counts as unattributed. */
  orphanGraceMs: 5_000,
  /** Lateness of a quote, over twice the interval, after which the node is lost. */
  silenceGraceMs: 5_000,
  referenceFilesPerMessage: 4096,
  referenceFiles: 500_000,
} as const;
