import { generateKeyPairSync, X509Certificate } from 'node:crypto';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { ConnectError } from '@connectrpc/connect';
import { type Logger, pino } from 'pino';
import { type AgentIdentity, type Connection, connectServer } from '../../src/agent/connection.ts';
import { createKeyAndRequest } from '../../src/agent/enrolment-csr.ts';
import { TpmClient, type TpmOptions } from '../../src/agent/tpm-client.ts';
import type { ReferenceFile } from '../../src/appraisal/reference/file-table.ts';
import { sha256 } from '../../src/bytes/sha256.ts';
import { AdminClient } from '../../src/cli/admin-client.ts';
import {
  decodeContainer,
  encodeContainer,
  encodeRecord,
  makeContainer,
  makeRecord,
} from '../../src/container/record.ts';
import { CODE_TRAILER } from '../../src/grpc-status.ts';
import { Admin } from '../../src/proto/lacre/v1/admin_pb.ts';
import {
  type Answer,
  type AttestRequest,
  AttestRequestSchema,
  type AttestResponse,
  type EnrolChallenge,
  type EnrolRequest,
  EnrolRequestSchema,
  type EnrolResult,
  type WorkloadRequestSchema,
} from '../../src/proto/lacre/v1/node_pb.ts';
import type { Container } from '../../src/proto/lacre/v1/record_pb.ts';
import { Agent } from '../../src/proto/spire/api/server/agent/v1/agent_pb.ts';
import { Bundle } from '../../src/proto/spire/api/server/bundle/v1/bundle_pb.ts';
import { Entry } from '../../src/proto/spire/api/server/entry/v1/entry_pb.ts';
import { parseConfig } from '../../src/server/config.ts';
import { type RunningServer, startServer } from '../../src/server/server.ts';
import type { Clock } from '../../src/server/server-deps.ts';
import { certificateSpki } from '../../src/tpm/certificate.ts';
import type { PcrBank } from '../../src/tpm/constants.ts';
import { ekSha256Hex } from '../../src/tpm/endorsement.ts';
import { objectName, parsePublicArea } from '../../src/tpm/public-area.ts';
import {
  batchRoot,
  enrolmentExtraData,
  quoteExtraData,
  type SubjectKind,
  workloadLeaf,
} from '../../src/tpm/qualifying-data.ts';
import {
  approveImage,
  approveSystem,
  CONFIG_DIGEST,
  digestOf,
  IMAGE_FILES,
  MANIFEST,
  OBSERVATION,
  POOL_BASE,
  SYSTEM,
} from './approved-system.ts';
import type { BootedSystem } from './event-log.ts';
import { KernelSimulator } from './kernel-simulator.ts';
import { SoftwareTpm } from './software-tpm.ts';
import { TpmProxy } from './tpm-proxy.ts';

export { CONFIG_DIGEST, digestOf, HOST_FILES, IMAGE_FILES, MANIFEST, POOL_BASE } from './approved-system.ts';

export const TRUST_DOMAIN = 'lacre.test';
const MAX_CODES = 1_000;

/** The error code that came with a status of the server; empty: it is none of the server's. */
export function codeOf(error: unknown): string {
  return error instanceof ConnectError ? (error.metadata.get(CODE_TRAILER) ?? '') : '';
}

/** A server, and the folder that it keeps its things in. */
export class TestServer {
  readonly directory: string;
  readonly #rootPath: string;
  readonly #settings: string;
  readonly #clock: Clock | undefined;
  readonly #codes: string[];
  #running: RunningServer;
  #admin: AdminClient;

  private constructor(
    directory: string,
    rootPath: string,
    settings: string,
    clock: Clock | undefined,
    running: RunningServer,
    codes: string[],
  ) {
    this.#codes = codes;
    this.directory = directory;
    this.#rootPath = rootPath;
    this.#settings = settings;
    this.#clock = clock;
    this.#running = running;
    this.#admin = new AdminClient(running.adminSocket);
  }

  static async start(rootPath: string, settings = '', clock?: Clock): Promise<TestServer> {
    const directory = await mkdtemp(join(tmpdir(), 'lacre-server-'));
    const codes: string[] = [];
    const running = await run(directory, rootPath, settings, codes, clock);
    return new TestServer(directory, rootPath, settings, clock, running, codes);
  }

  /** Error codes in the server's log so far: what it refused and didn't tell the node. */
  get loggedCodes(): readonly string[] {
    return this.#codes;
  }

  /** Codes of the findings over one workload, as `lacre why` shows them. */
  async findingsOf(subject: string): Promise<string[]> {
    const { workloads } = await this.admin.why({ subject });
    return workloads[0]?.verdict?.findings.map(({ code }) => code) ?? [];
  }

  get port(): number {
    return this.#running.address.port;
  }

  get admin() {
    return this.#admin.service(Admin);
  }

  get entries() {
    return this.#admin.service(Entry);
  }

  get agents() {
    return this.#admin.service(Agent);
  }

  /** Ends the server and starts another on the same database. */
  async restart(): Promise<void> {
    await this.stop();
    this.#running = await run(this.directory, this.#rootPath, this.#settings, this.#codes, this.#clock);
    this.#admin = new AdminClient(this.#running.adminSocket);
  }

  async stop(): Promise<void> {
    this.#admin[Symbol.dispose]();
    await this.#running.close();
  }

  async bundle(): Promise<Uint8Array[]> {
    const bundle = await this.#admin.service(Bundle).getBundle({});
    return bundle.x509Authorities.map(({ asn1 }) => asn1);
  }

  approve(): Promise<void> {
    return approveSystem(this.admin);
  }

  async approveImage(manifestDigest: string, files: readonly ReferenceFile[]): Promise<void> {
    await approveImage(this.admin, manifestDigest, files);
  }

  /** Makes an entry for what these selectors say, on a node; returns its id. */
  async createEntry(path: string, parentId: string, selectors: readonly string[]): Promise<string> {
    const parent = parentId.slice(`spiffe://${TRUST_DOMAIN}`.length);
    const { results } = await this.entries.batchCreateEntry({
      entries: [
        {
          spiffeId: { trustDomain: TRUST_DOMAIN, path },
          parentId: { trustDomain: TRUST_DOMAIN, path: parent },
          selectors: selectors.map((text) => {
            const at = text.indexOf(':');
            return { type: text.slice(0, at), value: text.slice(at + 1) };
          }),
        },
      ],
    });
    const [result] = results;
    if (result?.status?.code !== 0) throw new Error(result?.status?.message ?? 'no entry was made');
    return result.entry?.id ?? '';
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
    await rm(this.directory, { recursive: true, force: true });
  }
}

async function run(
  directory: string,
  rootPath: string,
  settings: string,
  codes: string[],
  clock?: Clock,
): Promise<RunningServer> {
  const text = [
    `trust_domain: ${TRUST_DOMAIN}`,
    'listen: 127.0.0.1:0',
    `data_dir: ${directory}/data`,
    `admin: { socket: ${directory}/admin.sock }`,
    `verifier: { socket: ${directory}/verifier/verifier.sock }`,
    'ca: { key: disk }',
    `endorsement: { roots: [{ path: ${rootPath}, tier: software }] }`,
    settings,
  ].join('\n');
  return startServer(parseConfig('test.yaml', text), { log: testLog(codes), ...(clock && { clock }) });
}

/** Keeps the error codes of what is logged, the newest of very many. */
function testLog(codes: string[]): Logger {
  const shown = process.env['LACRE_TEST_LOG'];
  const write = (line: string): void => {
    if (shown !== undefined) process.stderr.write(line);
    const { code } = JSON.parse(line) as { code?: string };
    if (code === undefined) return;
    codes.push(code);
    if (codes.length > MAX_CODES) codes.shift();
  };
  return pino({ level: shown ?? 'info' }, { write });
}

/** A server and a node of its inventory that has enrolled, with an entry for every container of the approved image. */
export class Fixture {
  readonly node: ScriptedNode;
  readonly server: TestServer;
  entryId: string;
  identity: AgentIdentity;

  private constructor(node: ScriptedNode, server: TestServer, entryId: string, identity: AgentIdentity) {
    this.node = node;
    this.server = server;
    this.entryId = entryId;
    this.identity = identity;
  }

  /** @param machine by default one with a P-256 attestation key and PCRs of SHA-256 */
  static async start(settings = '', clock?: Clock, machine?: ScriptedNode): Promise<Fixture> {
    const node = machine ?? (await ScriptedNode.boot());
    const server = await TestServer.start(node.tpm.rootPath, settings, clock);
    await server.approve();
    await server.admin.addNode({ ekSha256: node.ekSha256Hex, name: 'node-1' });
    const entryId = await server.createEntry('/orders', node.spiffeId, ['lacre:image-name:registry.test/app:1']);
    const { identity } = await node.enrol(server);
    return new Fixture(node, server, entryId, identity);
  }

  /** A new session in which these containers run, the entrypoint of each measured. */
  async session(...containers: Container[]): Promise<ScriptedSession> {
    const session = await this.node.attest(this.server, this.identity);
    for (const container of containers) await this.run(container);
    session.tell(...containers);
    return session;
  }

  /** The container's program is executed in its uid range. */
  async run(container: Container): Promise<void> {
    const uid = container.uidMap[0]?.outside ?? 0;
    for (const file of IMAGE_FILES.slice(0, 2)) await this.node.kernel.measureContainer(file, { uid });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.server[Symbol.asyncDispose]();
    await this.node[Symbol.asyncDispose]();
  }
}

/** A machine: a software TPM, a kernel that measures, and whatever an agent on it would say. */
export class ScriptedNode {
  readonly directory: string;
  readonly tpm: SoftwareTpm;
  readonly proxy: TpmProxy;
  readonly client: TpmClient;
  #kernel: KernelSimulator;
  #ek: { readonly public: Uint8Array; readonly certificate: Uint8Array };
  #ak: { readonly public: Uint8Array; readonly private: Uint8Array };

  private constructor(
    directory: string,
    tpm: SoftwareTpm,
    proxy: TpmProxy,
    client: TpmClient,
    kernel: KernelSimulator,
    ek: { readonly public: Uint8Array; readonly certificate: Uint8Array },
    ak: { readonly public: Uint8Array; readonly private: Uint8Array },
  ) {
    this.directory = directory;
    this.tpm = tpm;
    this.proxy = proxy;
    this.client = client;
    this.#kernel = kernel;
    this.#ek = ek;
    this.#ak = ak;
  }

  /**
   * @param bank that the TPM has PCRs of, and no other
   * @param booted what it boots otherwise than the machine that `TestServer.approve` approves
   */
  static async boot(
    bank: PcrBank = 'sha256',
    options: TpmOptions = {},
    booted: Partial<BootedSystem> = {},
  ): Promise<ScriptedNode> {
    const directory = await mkdtemp(join(tmpdir(), 'lacre-node-'));
    await using made = new AsyncDisposableStack();
    made.defer(() => rm(directory, { recursive: true, force: true }));
    const tpm = made.use(await SoftwareTpm.create({ directory: join(directory, 'tpm'), banks: bank }));
    await tpm.start();
    const path = join(directory, 'proxy.sock');
    const proxy = await TpmProxy.start({ upstream: tpm.address, path });
    made.defer(() => proxy.close());
    const kernel = await bootKernel(directory, path, bank, { ...SYSTEM, ...booted });
    made.defer(() => kernel.close());
    const client = await TpmClient.open(`unix:${path}`, options);
    made.defer(() => client.close());
    const { public: ekPublic, certificate } = await client.createEndorsementKey();
    const ak = await client.createAttestationKey();
    const ek = { public: ekPublic, certificate: certificate ?? new Uint8Array() };
    made.move();
    return new ScriptedNode(directory, tpm, proxy, client, kernel, ek, ak);
  }

  get kernel(): KernelSimulator {
    return this.#kernel;
  }

  get ekSha256Hex(): string {
    return ekSha256Hex(certificateSpki(this.#ek.certificate));
  }

  get spiffeId(): string {
    return `spiffe://${TRUST_DOMAIN}/spire/agent/lacre_tpm/${this.ekSha256Hex.slice(0, 32)}`;
  }

  get akPublic(): Uint8Array {
    return this.#ak.public;
  }

  /** Its private half is encrypted to this TPM. */
  get attestationKey(): { readonly public: Uint8Array; readonly private: Uint8Array } {
    return this.#ak;
  }

  get ekPublic(): Uint8Array {
    return this.#ek.public;
  }

  get ekCertificate(): Uint8Array {
    return this.#ek.certificate;
  }

  get akName(): Uint8Array {
    return objectName(parsePublicArea(this.#ak.public));
  }

  list(): Promise<Uint8Array> {
    return readFile(this.#kernel.listPath).then((bytes) => new Uint8Array(bytes));
  }

  eventLog(): Promise<Uint8Array> {
    return readFile(this.#kernel.eventLogPath).then((bytes) => new Uint8Array(bytes));
  }

  /** Enrols; `change` may tamper with what is sent. */
  async enrol(server: TestServer, change: EnrolChange = {}): Promise<{ result: EnrolResult; identity: AgentIdentity }> {
    const connection = await connectServer(await this.place(server));
    try {
      return await this.enrolOn(connection, change);
    } finally {
      connection.close();
    }
  }

  async enrolOn(
    connection: Connection,
    change: EnrolChange = {},
  ): Promise<{ result: EnrolResult; identity: AgentIdentity }> {
    const key = createKeyAndRequest();
    const challenged = Promise.withResolvers<EnrolChallenge>();
    challenged.promise.catch(() => undefined);
    const responses = connection.client.enrol(this.#enrolRequests(connection, key.csr, challenged.promise, change));
    const iterator = responses[Symbol.asyncIterator]();
    try {
      const first = await iterator.next();
      if (first.done === true || first.value.step.case !== 'challenge') throw new Error('no challenge came');
      challenged.resolve(first.value.step.value);
      const last = await iterator.next();
      if (last.done === true || last.value.step.case !== 'result') throw new Error('no result came');
      const result = last.value.step.value;
      const certificate = new X509Certificate(result.certificateChain[0] ?? new Uint8Array());
      const identity = {
        spiffeId: result.spiffeId,
        certificateChain: result.certificateChain,
        privateKeyPem: key.privateKeyPem,
        issuedAt: new Date(),
        expiresAt: certificate.validToDate,
      };
      return { result, identity };
    } catch (error) {
      challenged.reject(error);
      throw error;
    }
  }

  /** What an enrolment begins with. */
  async hello(csr: Uint8Array = createKeyAndRequest().csr) {
    return {
      ekCertificate: this.#ek.certificate,
      ekIntermediates: await this.tpm.intermediates(),
      ekPublic: this.#ek.public,
      akPublic: this.#ak.public,
      csr,
      agentVersion: 'test',
    };
  }

  async *#enrolRequests(
    connection: Connection,
    csr: Uint8Array,
    challenged: Promise<EnrolChallenge>,
    change: EnrolChange,
  ): AsyncGenerator<EnrolRequest> {
    const step = (value: MessageInitShape<typeof EnrolRequestSchema>['step']) =>
      create(EnrolRequestSchema, { step: value ?? { case: undefined } });
    yield step({ case: 'hello', value: { ...(await this.hello(csr)), ...change.hello } });
    const { credentialBlob, encryptedSecret, nonce } = await challenged;
    const secret = change.secret ?? (await this.client.activateCredential(credentialBlob, encryptedSecret));
    const extraData = enrolmentExtraData({
      trustDomain: TRUST_DOMAIN,
      nonce: change.nonce ?? nonce,
      secret,
      ekPublic: this.#ek.public,
      akName: this.akName,
      csr,
      exporter: change.exporter ?? connection.exporter,
    });
    const { attest, signature } = await this.client.quote(extraData);
    yield step({ case: 'eventLog', value: change.eventLog ?? (await this.eventLog()) });
    const list = change.list ?? (await this.list());
    for (let at = 0; at < list.length; at += 1000) yield step({ case: 'list', value: list.subarray(at, at + 1000) });
    yield step({ case: 'evidence', value: { attest, signature, observation: OBSERVATION } });
  }

  /** Opens a session, as far as the server's first message. */
  async attest(server: TestServer, identity: AgentIdentity): Promise<ScriptedSession> {
    const connection = await connectServer({ ...(await this.place(server)), identity });
    return ScriptedSession.open(this, connection);
  }

  async place(server: TestServer) {
    return {
      server: { host: '127.0.0.1', port: server.port },
      trustDomain: TRUST_DOMAIN,
      bundle: await server.bundle(),
    };
  }

  /** Power off and on: PCRs, list and AK begin anew. */
  async reboot(): Promise<void> {
    await this.#kernel.close();
    await this.tpm.restart();
    await this.proxy.disconnect();
    const { bank, system } = this.#kernel;
    this.#kernel = await bootKernel(this.directory, join(this.directory, 'proxy.sock'), bank, system);
    // The first call notices that the old connection is gone.
    const again = () => this.client.createAttestationKey(this.#ak);
    this.#ak = await again().catch(again);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.client.close();
    await this.#kernel.close();
    await this.proxy.close();
    await this.tpm[Symbol.asyncDispose]();
    await rm(this.directory, { recursive: true, force: true });
  }
}

export interface EnrolChange {
  readonly hello?: Partial<Awaited<ReturnType<ScriptedNode['hello']>>>;
  readonly secret?: Uint8Array;
  readonly nonce?: Uint8Array;
  readonly exporter?: Uint8Array;
  readonly eventLog?: Uint8Array;
  readonly list?: Uint8Array;
}

async function bootKernel(
  directory: string,
  proxyPath: string,
  bank: PcrBank,
  system: BootedSystem,
): Promise<KernelSimulator> {
  const kernel = await KernelSimulator.boot({ tpm: `unix:${proxyPath}`, directory, system, bank });
  await kernel.measureHost({ path: '/init', sha256: digestOf('host /init') });
  await kernel.measureHost({ path: '/sbin/init', sha256: digestOf('host /sbin/init') });
  return kernel;
}

/** A container as the agent would tell it: of the approved image, in a uid range of its own. */
export function containerOf(number: number, change: Partial<Container> = {}): Container {
  return makeContainer({
    id: number.toString(16).padStart(64, '0'),
    engine: 'podman',
    name: `app-${number}`,
    initStartTicks: BigInt(number),
    imageName: 'registry.test/app:1',
    manifestDigest: MANIFEST,
    configDigest: CONFIG_DIGEST,
    argv: ['/bin/app'],
    cwd: '/',
    mounts: [
      {
        target: '/',
        type: 'overlay',
        root: '/',
        readOnly: false,
        noexec: false,
        sourceKind: 'root',
        superOptions: '',
        peer: `0:${100 + number}`,
      },
    ].map((mount) => ({ $typeName: 'lacre.v1.Mount' as const, ...mount })),
    seccompMode: 2,
    seccompSha256: digestOf('seccomp'),
    seccompDeniesUserns: true,
    noNewPrivs: true,
    uidMap: [{ $typeName: 'lacre.v1.IdExtent', inside: 0, outside: uidOf(number), length: 1024 }],
    ...change,
  });
}

export function uidOf(number: number): number {
  return POOL_BASE + 1024 * number;
}

export interface ScriptedRequest {
  readonly id: bigint;
  readonly kind: SubjectKind;
  readonly record: Uint8Array;
  readonly subject: Uint8Array;
}

let nextId = 1n;

/** A request of a container's init for an X.509-SVID over a fresh key. */
export function requestOf(
  container: Container,
  change: { readonly kind?: SubjectKind; readonly record?: Uint8Array } = {},
): ScriptedRequest {
  const { publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const [extent] = container.uidMap;
  const record = makeRecord({
    containerSha256: decodeContainer(encodeContainer(container)).sha256,
    containerId: container.id,
    uid: extent?.outside ?? 0,
    gid: extent?.outside ?? 0,
    executable: '/bin/app',
    isInitFamily: true,
  });
  return {
    id: nextId++,
    kind: change.kind ?? 1,
    record: change.record ?? encodeRecord(record),
    subject: new Uint8Array(publicKey.export({ format: 'der', type: 'spki' })),
  };
}

/** What a session received; each answer by itself, however many came in one message. */
export type Message =
  | Exclude<AttestResponse['message'], { case: 'answers' }>
  | { readonly case: 'answer'; readonly value: Answer };
/** What it sends; a request by itself is a message of one. */
export type Sent =
  | MessageInitShape<typeof AttestRequestSchema>['message']
  | { readonly case: 'request'; readonly value: MessageInitShape<typeof WorkloadRequestSchema> };
type Case = NonNullable<Message['case']>;
type ValueOf<C extends Case> = Extract<Message, { case: C }>['value'];

function manyOf(message: Sent): MessageInitShape<typeof AttestRequestSchema>['message'] {
  return message?.case === 'request' ? { case: 'requests', value: { requests: [message.value] } } : message;
}

/** One Attest stream, message by message. */
export class ScriptedSession {
  readonly node: ScriptedNode;
  readonly connection: Connection;
  readonly received: Message[] = [];
  readonly #outgoing: AttestRequest[] = [];
  readonly #taken = new Map<Case, number>();
  readonly nonces: Uint8Array[] = [];
  #wake: () => void = () => undefined;
  #closed = false;
  sentBytes = 0;
  /** Set when the server ended the stream. */
  ended: Error | true | undefined;

  private constructor(node: ScriptedNode, connection: Connection) {
    this.node = node;
    this.connection = connection;
  }

  static async open(node: ScriptedNode, connection: Connection): Promise<ScriptedSession> {
    const session = new ScriptedSession(node, connection);
    session.send({ case: 'hello', value: { agentVersion: 'test', eventLog: await node.eventLog() } });
    void session.#read();
    await session.next('open');
    return session;
  }

  send(message: Sent): void {
    this.#outgoing.push(create(AttestRequestSchema, { message: manyOf(message) ?? { case: undefined } }));
    this.#wake();
  }

  /** A message as it is, unknown fields too. */
  sendRaw(message: AttestRequest): void {
    this.#outgoing.push(message);
    this.#wake();
  }

  /** The next message of a kind that was not taken yet; fails where the stream ends first, or after five seconds. */
  async next<C extends Case>(kind: C, timeoutMs = 5_000): Promise<ValueOf<C>> {
    const deadline = performance.now() + timeoutMs;
    const taken = this.#taken.get(kind) ?? 0;
    for (;;) {
      const all = this.received.filter((message) => message.case === kind);
      const found = all[taken];
      if (found !== undefined) {
        this.#taken.set(kind, taken + 1);
        return found.value as ValueOf<C>;
      }
      if (this.ended instanceof Error) throw this.ended;
      if (this.ended === true || performance.now() > deadline) throw new Error(`no ${kind} came`);
      await delay(5);
    }
  }

  /** Resolves when the server has ended the stream. */
  async end(timeoutMs = 5_000): Promise<Error> {
    const deadline = performance.now() + timeoutMs;
    while (this.ended === undefined && performance.now() < deadline) await delay(5);
    if (this.ended instanceof Error) return this.ended;
    throw new Error(this.ended === true ? 'the stream ended without an error' : 'the stream did not end');
  }

  /** Containers and observation, as at a session's start. */
  tell(...containers: Container[]): void {
    this.send({ case: 'observation', value: OBSERVATION });
    this.send({ case: 'containers', value: { containers: containers.map(encodeContainer), gone: [], complete: true } });
  }

  tellMore(...containers: Container[]): void {
    this.send({
      case: 'containers',
      value: { containers: containers.map(encodeContainer), gone: [], complete: false },
    });
  }

  sayGone(...containers: Container[]): void {
    this.send({ case: 'containers', value: { containers: [], gone: containers.map(({ id }) => id), complete: false } });
  }

  /** A quote over these requests, not sent. */
  quoteFor(requests: readonly ScriptedRequest[], nonce: Uint8Array) {
    const leaves = requests.map(({ kind, record, subject }) => workloadLeaf(kind, sha256(record), sha256(subject)));
    const extraData = quoteExtraData({
      akName: this.node.akName,
      exporter: this.connection.exporter,
      nonce,
      root: batchRoot(leaves),
      count: leaves.length,
    });
    return this.node.client.quote(extraData);
  }

  /** What the list has grown by. */
  async sendList(upTo?: number): Promise<void> {
    const list = await this.node.list();
    const end = upTo ?? list.length;
    const data = list.subarray(this.sentBytes, end);
    if (data.length > 0) this.send({ case: 'list', value: { offset: BigInt(this.sentBytes), data } });
    this.sentBytes = Math.max(this.sentBytes, end);
  }

  async nonce(): Promise<Uint8Array> {
    for (;;) {
      const held = this.nonces.pop();
      if (held !== undefined) return held;
      const come = this.received.filter((message) => message.case === 'nonces').length;
      if (come === (this.#taken.get('nonces') ?? 0)) this.send({ case: 'nonceRequest', value: {} });
      this.nonces.push(...(await this.next('nonces')).nonces.map(({ value }) => value));
    }
  }

  /** Quote first, list second, then the evidence. */
  async evidence(requests: readonly ScriptedRequest[] = [], change: EvidenceChange = {}): Promise<void> {
    const nonce = change.nonce ?? (await this.nonce());
    const confirmed = change.confirms ?? [];
    const leafOf = ({ kind, record, subject }: ScriptedRequest) => workloadLeaf(kind, sha256(record), sha256(subject));
    const leaves = [...(change.quoted ?? requests), ...confirmed].map(leafOf);
    const extraData = quoteExtraData({
      akName: this.node.akName,
      exporter: change.exporter ?? this.connection.exporter,
      nonce,
      root: batchRoot(leaves),
      count: change.count ?? leaves.length,
    });
    const quote = change.quote ?? (await this.node.client.quote(extraData));
    await this.sendList(change.listUpTo);
    const value = {
      nonce,
      ...quote,
      listLength: BigInt(change.listLength ?? this.sentBytes),
      requests: [...requests],
      confirms: confirmed.map(({ id }) => id),
    };
    this.send({ case: 'evidence', value });
  }

  /** Sends a request under a quote, and returns its answer. */
  async ask(request: ScriptedRequest) {
    await this.evidence([request]);
    const answer = await this.next('answer');
    if (answer.id !== request.id) throw new Error(`an answer to ${answer.id} came`);
    return answer.outcome;
  }

  close(): void {
    this.#closed = true;
    this.#wake();
    this.connection.close();
  }

  async #read(): Promise<void> {
    try {
      for await (const { message } of this.connection.client.attest(this.#requests())) {
        if (message.case !== 'answers') this.received.push(message);
        else this.received.push(...message.value.answers.map((value) => ({ case: 'answer' as const, value })));
      }
      this.ended = true;
    } catch (error) {
      this.ended = error instanceof Error ? error : new Error(String(error));
    }
  }

  async *#requests(): AsyncGenerator<AttestRequest> {
    while (!this.#closed) {
      const next = this.#outgoing.shift();
      if (next !== undefined) yield next;
      else
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
    }
  }
}

export interface EvidenceChange {
  readonly nonce?: Uint8Array;
  readonly exporter?: Uint8Array;
  /** Requests that the quote's tree holds, where others are sent. */
  readonly quoted?: readonly ScriptedRequest[];
  readonly confirms?: readonly ScriptedRequest[];
  readonly count?: number;
  readonly quote?: { readonly attest: Uint8Array; readonly signature: Uint8Array };
  readonly listLength?: number;
  readonly listUpTo?: number;
}
