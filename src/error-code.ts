/**
 * Every error code, and what becomes of it: gRPC status, exit status, and what it means. The only place where an
 * error turns into something a user sees. docs/errors.md is generated from this table; a test holds both together.
 */
export type GrpcStatus =
  | 'INVALID_ARGUMENT'
  | 'NOT_FOUND'
  | 'ALREADY_EXISTS'
  | 'PERMISSION_DENIED'
  | 'RESOURCE_EXHAUSTED'
  | 'FAILED_PRECONDITION'
  | 'ABORTED'
  | 'UNIMPLEMENTED'
  | 'INTERNAL'
  | 'UNAVAILABLE'
  | 'UNAUTHENTICATED'
  | 'DEADLINE_EXCEEDED';

interface CodeFacts {
  readonly grpc: GrpcStatus;
  /** Exit status of a command that ends with this error (docs/cli.md): 1 fault, 2 usage, 3 refused, 4 not found, 5 unavailable. */
  readonly exit: 1 | 2 | 3 | 4 | 5;
  readonly meaning: string;
}

const invalid = (meaning: string): CodeFacts => ({ grpc: 'INVALID_ARGUMENT', exit: 2, meaning });
const refused = (meaning: string): CodeFacts => ({ grpc: 'PERMISSION_DENIED', exit: 3, meaning });
const missing = (meaning: string): CodeFacts => ({ grpc: 'NOT_FOUND', exit: 4, meaning });
const unavailable = (meaning: string): CodeFacts => ({ grpc: 'UNAVAILABLE', exit: 5, meaning });
const exhausted = (meaning: string): CodeFacts => ({ grpc: 'RESOURCE_EXHAUSTED', exit: 1, meaning });
const fault = (meaning: string): CodeFacts => ({ grpc: 'INTERNAL', exit: 1, meaning });

export const ERROR_CODES = {
  // bytes
  'bytes.truncated': invalid('a structure ends before its length says'),
  'bytes.trailing': invalid('bytes are left after a structure'),
  'bytes.oversized': invalid('a length or count is over its bound'),
  'bytes.hex': invalid('text is not hexadecimal'),
  // tpm
  'tpm.malformed': invalid(
    'a TPM structure is truncated, oversized, or holds a value that the TPM 2.0 Library does not allow',
  ),
  'tpm.unsupported': invalid('a TPM structure names an algorithm, curve or scheme that Lacre does not accept'),
  'tpm.argument': fault('a value made by Lacre itself for a TPM structure has the wrong length'),
  'tpm.ak.attributes': refused('the attestation key is not a restricted signing key that the TPM made and keeps'),
  'tpm.ak.hierarchy': refused('the attestation key lives neither in the endorsement hierarchy itself nor below the EK'),
  'tpm.ek.attributes': refused('the endorsement key is not a restricted decryption key that the TPM made and keeps'),
  'tpm.quote.type': refused('the attested structure was not made by a TPM, or is not a quote'),
  'tpm.quote.signature': refused('the signature of the quote is not by the attestation key'),
  'tpm.quote.extra-data': refused('the quote answers another question: its extra data is not what was asked'),
  'tpm.quote.selection': refused('the quote does not cover exactly the PCRs that Lacre asks for'),
  'tpm.certify.name': refused('the TPM certified another key than the one that is claimed'),
  'tpm.certify.attributes': refused('a certified key is no signing key that the TPM made and keeps'),
  'tpm.endorsement.certificate': invalid('an EK certificate or one of its issuers is malformed'),
  'tpm.endorsement.key': refused('the EK certificate is for another key than the endorsement key'),
  'tpm.endorsement.usage': refused('the certificate is not one for endorsement keys'),
  'tpm.endorsement.expired': refused('a certificate of the endorsement chain is not valid at this time'),
  'tpm.endorsement.chain': refused('the EK certificate does not chain to a configured root'),
  'tpm.endorsement.disallowed': refused('the EK certificate is of a TPM that the allow list does not have'),
  'tpm.cabinet.malformed': invalid(
    'a cabinet file (CAB) is malformed, over its bounds, or compressed in a way that is not supported',
  ),
  'tpm.batch.duplicate': invalid('two requests of a batch are the same'),
  'tpm.response.code': unavailable('the TPM answered a command with an error'),
  // boot
  'boot.log.malformed': invalid('a firmware event log breaks the PC Client Platform Firmware Profile'),
  'boot.log.oversized': exhausted('a firmware event log is over its bound'),
  'boot.log.bank': { grpc: 'FAILED_PRECONDITION', exit: 3, meaning: 'a firmware event log has no SHA-256 digests' },
  'boot.image.malformed': invalid('a kernel is no PE/COFF image, or one whose hash is not defined'),
  // ima
  'ima.entry.malformed': invalid('an entry of the measurement list is not as the kernel writes it'),
  'ima.entry.oversized': exhausted('an entry of the measurement list is over its bound'),
  'ima.entry.pcr': refused('an entry of the measurement list is for a PCR that the node policy does not use'),
  'ima.entry.template': refused('an entry of the measurement list is in a template whose meaning no digest holds fast'),
  'ima.list.oversized': exhausted('the measurement list has more unproven entries than are kept'),
  'ima.prefix.unexplained': refused(
    'no prefix of the measurement list explains the quoted PCRs: the quote is no evidence',
  ),
  'ima.boot-aggregate': refused('the measurement list does not begin with the boot that the event log shows'),
  'ima.policy.pool': invalid('the uid pool of an IMA policy lies where users of the host may be'),
  // container
  'container.malformed': invalid('a record of a container or caller has a field that is not as it must be'),
  'container.oversized': invalid('a record of a container or caller is over its bound'),
  'container.not-canonical': invalid('a record is not encoded in the one canonical way'),
  'container.proc.malformed': invalid("text of the kernel's /proc, or of an engine, is malformed"),
  // appraisal
  'appraisal.verdict.forged': fault('a verdict was made by something else than an appraisal'),
  'appraisal.files.malformed': invalid('a table of reference files is malformed, or a path or digest in it is'),
  'appraisal.host.malformed': invalid('reference values of a host are incomplete or contradict themselves'),
  'appraisal.image.malformed': invalid(
    'a manifest, configuration or layer of an image is not as the OCI image specification says',
  ),
  'appraisal.image.digest': refused('a manifest, configuration or layer does not have the digest that names it'),
  'appraisal.image.path': refused('a name in a layer leaves the root, or cannot be a path'),
  'appraisal.image.oversized': exhausted('an image has more files, bytes or links than are accepted'),
  'appraisal.image.compression': invalid(
    'a layer is compressed in a way that is not supported, or its compressed data is damaged',
  ),
  'appraisal.entrypoint.unresolved': invalid('the entrypoint of an image is no regular file of it'),
  'appraisal.initrd.malformed': invalid('an initrd is no sequence of cpio archives in the newc format'),
  'appraisal.initrd.oversized': exhausted('an initrd has more files or bytes than are accepted'),
  'appraisal.selector.malformed': invalid('a selector is no type and value, or a lacre selector with an unknown value'),
  // identity
  'identity.der.malformed': invalid('a certificate or request is not DER'),
  'identity.trust-domain.malformed': invalid('a trust domain name breaks SPIFFE-ID 2.1'),
  'identity.spiffe-id.malformed': invalid('a SPIFFE ID breaks SPIFFE-ID 2'),
  'identity.key.malformed': invalid('a public key is no SubjectPublicKeyInfo'),
  'identity.key.refused': refused('a public key is of a kind or size that is not accepted'),
  'identity.csr.invalid': refused('a certificate request is not signed by its own key, or not as it must be'),
  'identity.certificate.malformed': invalid('a certificate is not well-formed'),
  'identity.svid.refused': refused('a certificate is no X.509-SVID of a workload or agent'),
  'identity.svid.untrusted': refused('no authority of the trust domain signed a certificate'),
  'identity.svid.expired': refused('a certificate is outside its validity'),
  // issuance
  'issuance.untrusted': refused('there is no trusted verdict, so nothing is issued'),
  'issuance.stale': refused('the evidence, or the authority, is too old for a certificate to be issued'),
  'issuance.refused': refused('the authority does not issue such a certificate'),
  'issuance.authority.invalid': fault('an authority and its key do not belong together, or it is no authority'),
  // server
  'server.entry.invalid': invalid('a registration entry, or a filter for entries, is not well-formed'),
  'server.entry.unsupported': {
    grpc: 'UNIMPLEMENTED',
    exit: 3,
    meaning: 'a registration entry asks for what Lacre does not do',
  },
  'server.entry.missing': missing('no registration entry has this id'),
  'server.config.invalid': invalid('the configuration has faults; the sentence names them all'),
  'server.authority.failed': fault('the key or certificate of the authority cannot be read or written'),
  'server.socket.busy': unavailable('another server answers on the socket or port'),
  'server.socket.failed': fault('a socket or port cannot be opened'),
  'server.store.busy': unavailable('another process holds the database'),
  'server.store.full': unavailable('the disk of the database is full; nothing was written or issued'),
  'server.store.corrupt': fault('the database is damaged or not ours'),
  'server.store.newer': fault('the database was written by a newer Lacre'),
  'server.store.failed': fault('the database failed'),
  'server.store.fenced': {
    grpc: 'ABORTED',
    exit: 1,
    meaning: 'a newer session of the node wrote first, so this one may write no more',
  },
  'server.node.exists': { grpc: 'ALREADY_EXISTS', exit: 3, meaning: 'a node with this EK or name is in the inventory' },
  'server.node.missing': missing('no such node in the inventory'),
  'server.nonce.unknown': refused('a nonce that was not given out on this connection, was used, or has expired'),
  'server.protocol': invalid('a message that the node protocol does not allow at this point, or with these values'),
  'server.limit': exhausted('a bound of the node protocol or the admin API was passed'),
  'server.busy': unavailable('as many nodes enrol at this moment as may'),
  'server.timeout': {
    grpc: 'DEADLINE_EXCEEDED',
    exit: 5,
    meaning: 'a node did not do in time what the protocol asks next',
  },
  'server.stopping': unavailable('the server is stopping'),
  'server.node.unknown': refused('an EK that is in no inventory asked for enrolment; it is parked'),
  'server.node.banned': refused('the node is banned, or was taken out of the inventory'),
  'server.node.unauthenticated': {
    grpc: 'UNAUTHENTICATED',
    exit: 3,
    meaning: 'the node must enrol (again) before a session',
  },
  'server.node.silent': {
    grpc: 'DEADLINE_EXCEEDED',
    exit: 5,
    meaning: 'no quote came from the node in time; it is lost',
  },
  'server.session.failed': fault('a session failed; the log of the server says why'),
  'server.epoch.ended': {
    grpc: 'ABORTED',
    exit: 1,
    meaning: 'the TPM was reset or its clock went back: the whole list is needed again',
  },
  'server.epoch.contradiction': refused('TPM and measurement list contradict each other: reboot the node'),
  'server.evidence.refused': refused('the appraisal of the host found something wrong'),
  'server.workload.unknown': refused('a request names a container, or a state of one, that the agent has not told'),
  'server.entry.none': refused('no registration entry matches the workload'),
  'server.entry.withdrawn': refused('the registration entry, or what it asks, is no longer fulfilled'),
  'server.reference.invalid': invalid('reference values are not well-formed, or incomplete'),
  'server.subject.missing': missing('nothing has this name, id or SPIFFE ID'),
  'server.subject.ambiguous': invalid('more than one node or container begins so'),
  // agent
  'agent.native.unavailable': unavailable("the agent's native part can't be loaded"),
  'agent.engine.unavailable': unavailable("the container engine's files or socket can't be read"),
  'agent.caller.ended': unavailable('the process that asked has ended meanwhile'),
  'agent.caller.not-in-container': refused('the process that asked runs in no container of a known engine'),
  'agent.caller.engine': unavailable('the container of the process that asked is not known to its engine'),
  'agent.caller.unreadable': fault("the agent can't read what it must of the process that asked"),
  'agent.tpm.address': invalid('the address names no TPM'),
  'agent.tpm.unavailable': unavailable('the TPM cannot be opened or does not speak as a TPM'),
  'agent.tpm.timeout': { grpc: 'DEADLINE_EXCEEDED', exit: 5, meaning: 'the TPM did not answer in time' },
  'agent.tpm.busy': unavailable('the TPM kept asking to try later'),
  'agent.tpm.reset': unavailable(
    'the TPM was reset or lost its keys: they are to be loaded anew, and evidence starts over',
  ),
  'agent.tpm.no-ek': unavailable('the TPM makes none of the endorsement keys that Lacre knows'),
  'agent.tpm.certificate': unavailable(
    'no certificate of the endorsement key can be had from the file or URL that the configuration names',
  ),
  'agent.tpm.no-bank': unavailable('the TPM has PCRs neither of SHA-256 nor of SHA-384'),
  'agent.config.invalid': invalid('the configuration of the agent is malformed'),
  'agent.environment': refused(
    'the executable was started with variables that change what it runs, and could not drop them',
  ),
  'agent.state.invalid': fault("the agent's data folder can't be used"),
  'agent.server.unreachable': unavailable('the server does not answer'),
  'agent.server.untrusted': refused("what answers is not the trust domain's server, by the pinned bundle"),
  'agent.server.refused': refused('the server refuses the node'),
  'agent.protocol': fault('the server sent what the node protocol does not allow at this point'),
  'agent.session.lost': unavailable('the connection to the server ended, or nothing was heard on it for too long'),
  'agent.list.unreadable': unavailable("the kernel's measurement list can't be read"),
  'agent.list.shrunk': {
    grpc: 'FAILED_PRECONDITION',
    exit: 1,
    meaning: 'the measurement list is shorter than what was read of it before',
  },
  'agent.eventlog.unreadable': unavailable("the firmware's event log can't be read"),
  'agent.workload.header': invalid('a call to the Workload API without its security header'),
  'agent.workload.message': invalid('a call to the Workload API with a malformed message'),
  'agent.workload.method': {
    grpc: 'UNIMPLEMENTED',
    exit: 1,
    meaning: 'a method that the Workload API of this agent does not have',
  },
  'agent.workload.limit': exhausted(
    'too many connections or streams on the Workload API, or a client that does not read',
  ),
  'agent.workload.unattested': unavailable('the node is not attested now, so nothing is served'),
  'agent.workload.refused': refused('the server gives the calling workload no identity'),
  'agent.workload.socket': unavailable("the Workload API's socket can't be made"),
  // spire
  'spire.plugin.started': invalid('a plugin of SPIRE was started by something else'),
  'spire.plugin.socket': unavailable("the plugin's socket can't be made"),
  'spire.peer.foreign': refused('who listens on a socket of the Lacre server or of spire-server is another user'),
  'spire.plugin.unconfigured': {
    grpc: 'FAILED_PRECONDITION',
    exit: 1,
    meaning: 'SPIRE asked a plugin before it gave it a configuration',
  },
  'spire.config.invalid': invalid('the plugin_data of a plugin, or a configuration of SPIRE, is malformed'),
  'spire.node.protocol': invalid('a payload, challenge or response of node attestation is malformed or out of order'),
  'spire.node.trust-domain': refused('node attestation brought plugins of two trust domains together'),
  'spire.node.refused': refused('spire-server ended the attestation of the node'),
  'spire.workload.pid': invalid('a plugin was asked about a pid that no process can have'),
  'spire.workload.refused': refused(
    'the workload is not trusted, or lacks what the plugin requires, so it has no selectors',
  ),
  // cli
  'cli.usage': invalid('a command is called with options that do not fit together'),
  'cli.file.missing': missing('a file that a command names does not exist'),
  'cli.file.invalid': invalid('a file that a command names does not hold what it should'),
  'cli.image.invalid': invalid('a file or folder is no OCI image, or a blob of it is not what its digest says'),
  'cli.image.ambiguous': invalid('an archive holds several images, or none that fits'),
  'cli.server.unreachable': unavailable('no lacre server answers at the admin socket'),
  'cli.server.missing': missing('the server knows nothing of what was asked for'),
  'cli.server.invalid': invalid('the server says that a request is not well-formed'),
  'cli.server.refused': refused('the server refuses a request'),
  'cli.server.failed': fault('the server could not do what was asked'),
  'cli.workload.refused': refused('the Workload API gives the caller no identity'),
  'cli.workload.unreachable': unavailable('no Workload API answers at the socket'),
  'cli.prepare.incomplete': refused('a node lacks something that its grade asks for'),
  // lab
  'lab.program.missing': unavailable('a program that the lab needs is not installed'),
  'lab.program.failed': fault('a program that the lab runs failed'),
  'lab.build.archive': fault("the lab's packages do not hold what the node is made of"),
  'lab.build.kernel': fault('the firmware of the lab measured another kernel than the package holds'),
  'lab.kernel.unknown': invalid('the lab has no kernel of this series'),
  'lab.machine.gone': fault('the machine of the lab ended, or did not start'),
  'lab.machine.silent': fault('the node of the lab did not come up in time'),
  'lab.server.start': fault('the server of the lab did not start'),
  'lab.agent.enrol': fault('the agent of the lab did not enrol'),
  'lab.running': { grpc: 'ALREADY_EXISTS', exit: 1, meaning: 'another lab of this user is at work' },
  'lab.stopped': fault('the lab was stopped before its end'),
  'lab.node.command': fault('a command in the node of the lab failed'),
} as const satisfies Record<string, CodeFacts>;

export type ErrorCode = keyof typeof ERROR_CODES;
