import { generateKeyPairSync } from 'node:crypto';
import { create, fromBinary, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import { createKeyAndRequest } from '../../src/agent/enrolment-csr.ts';
import { sha256 } from '../../src/bytes/sha256.ts';
import { encodeContainer } from '../../src/container/record.ts';
import {
  type Answer,
  AttestRequestSchema,
  type AttestResponse,
  AttestResponseSchema,
  type EnrolChallenge,
  EnrolRequestSchema,
  type EnrolResponse,
  EnrolResponseSchema,
} from '../../src/proto/lacre/v1/node_pb.ts';
import { ekSha256Hex } from '../../src/tpm/endorsement.ts';
import { parsePublicArea } from '../../src/tpm/public-area.ts';
import { batchRoot, enrolmentExtraData, quoteExtraData, workloadLeaf } from '../../src/tpm/qualifying-data.ts';
import { digestOf, HOST_FILES, IMAGE_FILES, OBSERVATION, SYSTEM } from './approved-system.ts';
import type { FleetRecord } from './fleet-record.ts';
import { type LightCall, LightConnection, type LightPlace } from './light-connection.ts';
import { MemoryKernel } from './memory-kernel.ts';
import { containerOf, requestOf, type ScriptedRequest, uidOf } from './scripted-node.ts';
import type { SeededRandom } from './seeded-random.ts';
import type { Party } from './soft-certificate.ts';
import { SoftTpm } from './soft-tpm.ts';

const CHUNK_BYTES = 256 * 1024;
/** SVIDs are renewed at about half of their life: here drawn between 40 and 60 %. */
const RENEW_FROM = 0.4;
const RENEW_SPAN = 0.2;
/** No quote is begun on a nonce with less left. */
const NONCE_MARGIN_MS = 500;

export interface FleetOptions {
  /** Without identity. */
  readonly place: LightPlace;
  readonly root: Party;
  readonly workloads: number;
  readonly record: FleetRecord;
  readonly random: SeededRandom;
  /** Entries of the measurement list beside those of the workloads, of files that the host's reference values hold. */
  readonly extraEntries: number;
}

interface Workload {
  readonly number: number;
  readonly template: ScriptedRequest;
  /** Id of the request that it holds. */
  held: bigint | undefined;
  renewAt: number;
  /** It had an SVID before. */
  isRenewed: boolean;
  /** Executed what its image does not hold. */
  bad: boolean;
}

type AttestMessage = MessageInitShape<typeof AttestRequestSchema>['message'];

/**
 * One node of a fleet, with keys, list and workloads of its own: it speaks the protocol as the agent does (quote first,
 * list second; renewals under the quotes), at the least cost to the machine that thousands of it share with the server.
 */
export class FleetNode {
  readonly tpm: SoftTpm;
  readonly ekSha256Hex: string;
  readonly #options: FleetOptions;
  readonly #kernel: MemoryKernel;
  readonly #workloads: Workload[];
  #identity: LightPlace['identity'];
  #connection: LightConnection | undefined;
  #call: LightCall | undefined;
  #sentBytes = 0;
  #nonce: { readonly value: Uint8Array; readonly until: number } | undefined;
  #intervalMs = 15_000;
  #timer: NodeJS.Timeout | undefined;
  #quoteDue = false;
  #quotedAt = 0;
  #badSince = 0;
  #stopped = false;
  #first: (() => void) | undefined;

  constructor(options: FleetOptions) {
    this.#options = options;
    this.tpm = new SoftTpm(options.root);
    this.ekSha256Hex = ekSha256Hex(parsePublicArea(this.tpm.ekPublic).spki);
    this.#kernel = new MemoryKernel(SYSTEM, measuredKernel(options));
    this.#workloads = Array.from({ length: options.workloads }, (_, at) => ({
      number: at + 1,
      template: { ...templateOf(at + 1), subject: freshSubject() },
      held: undefined,
      renewAt: 0,
      isRenewed: false,
      bad: false,
    }));
  }

  /** lacre.v1.Node.Enrol, on a connection of its own. */
  async enrol(): Promise<void> {
    const { place } = this.#options;
    const connection = await LightConnection.open(place);
    const key = createKeyAndRequest();
    try {
      await new Promise<void>((resolve, reject) => {
        const send = (step: MessageInitShape<typeof EnrolRequestSchema>['step']) =>
          call.send(toBinary(EnrolRequestSchema, create(EnrolRequestSchema, { step: step ?? { case: undefined } })));
        const take = (bytes: Uint8Array): void => {
          const { step }: EnrolResponse = fromBinary(EnrolResponseSchema, bytes);
          if (step.case === 'challenge') {
            send({ case: 'eventLog', value: this.#kernel.eventLog });
            for (const value of chunksOf(this.#kernel.list)) send({ case: 'list', value });
            const quote = this.#enrolmentQuote(step.value, key.csr, connection.exporter);
            send({ case: 'evidence', value: { ...quote, observation: OBSERVATION } });
          } else if (step.case === 'result') {
            const [certificate = new Uint8Array()] = step.value.certificateChain;
            this.#identity = { certificate, privateKeyPem: key.privateKeyPem };
            resolve();
          }
        };
        const call = connection.call('Enrol', take, (status) => reject(new Error(`enrolment: ${status}`)));
        const { ekCertificate, ekPublic, akPublic } = this.tpm;
        const { csr } = key;
        send({
          case: 'hello',
          value: { ekCertificate, ekPublic, akPublic, csr, ekIntermediates: [], agentVersion: 'fleet' },
        });
      });
    } finally {
      connection.close();
    }
  }

  /** Opens a session and keeps it up, with a quote in every interval. Returns after the first verdict. */
  async attest(): Promise<void> {
    const { place, record } = this.#options;
    if (this.#identity === undefined) throw new Error('enrol first');
    const connection = await LightConnection.open({ ...place, identity: this.#identity });
    this.#connection = connection;
    this.#sentBytes = 0;
    this.#nonce = undefined;
    for (const workload of this.#workloads) {
      workload.held = undefined;
      workload.renewAt = 0;
    }
    const first = new Promise<void>((resolve) => {
      this.#first = resolve;
    });
    this.#call = connection.call(
      'Attest',
      (bytes) => this.#take(fromBinary(AttestResponseSchema, bytes).message),
      (status) => {
        if (!this.#stopped) record.ended(status);
        this.#first?.();
        this.#drop();
      },
    );
    this.#send({ case: 'hello', value: { agentVersion: 'fleet', eventLog: this.#kernel.eventLog } });
    this.#send({ case: 'observation', value: OBSERVATION });
    const containers = this.#workloads.map(({ number }) => containerBytes(number));
    this.#send({ case: 'containers', value: { containers, gone: [], complete: true } });
    await first;
  }

  /** A workload executes what its image does not hold. */
  misbehave(): void {
    const workload = this.#workloads.find(({ bad, held }) => !bad && held !== undefined);
    if (workload === undefined) return;
    workload.bad = true;
    this.#badSince = performance.now();
    this.#kernel.measureContainer({ path: '/bin/evil', sha256: digestOf('evil') }, { uid: uidOf(workload.number) });
    this.#sendList();
  }

  /** The connection is cut; a new session follows. */
  async reconnect(): Promise<void> {
    this.#stopped = true;
    this.#drop();
    this.#stopped = false;
    await this.attest();
  }

  stop(): void {
    this.#stopped = true;
    this.#drop();
  }

  #drop(): void {
    clearTimeout(this.#timer);
    this.#call = undefined;
    this.#connection?.close();
    this.#connection = undefined;
  }

  #take(message: AttestResponse['message']): void {
    switch (message.case) {
      case 'open':
        this.#intervalMs = message.value.quoteIntervalMs;
        this.#quoteDue = true;
        break;
      case 'nonces':
        for (const { value, lifetimeMs } of message.value.nonces) {
          this.#options.record.nonces += 1;
          this.#nonce = { value, until: performance.now() + lifetimeMs - NONCE_MARGIN_MS };
        }
        if (this.#quoteDue) this.#quote();
        break;
      case 'answers':
        for (const { id, outcome } of message.value.answers) this.#answered(id, outcome);
        break;
      case 'node':
        this.#options.record.verdict(performance.now() - this.#quotedAt, message.value.host?.trusted === true);
        this.#first?.();
        this.#plan();
        break;
      case 'withdrawal':
        this.#withdrawn(message.value.containerId);
        break;
      default:
    }
  }

  #answered(id: bigint, outcome: Answer['outcome']): void {
    const { record, random } = this.#options;
    const workload = this.#workloads.find(({ held }) => held === id);
    if (workload === undefined) return;
    if (outcome.case === 'identities') {
      const [svid] = outcome.value.x509;
      const lifeMs = Number(svid?.expiresAtUnixMs ?? 0n) - Date.now();
      // As of a node that has run for long: the first renewals are spread over the whole time.
      const part = workload.isRenewed ? 1 : random.next();
      workload.isRenewed = true;
      workload.renewAt = performance.now() + part * lifeMs * (RENEW_FROM + RENEW_SPAN * random.next());
      record.svids += outcome.value.x509.length;
    } else if (outcome.case === 'refusal' && workload.bad) {
      workload.renewAt = Number.POSITIVE_INFINITY;
    } else {
      // Too late a nonce: all of it once more, under the next.
      record.refused(outcome.case === 'refusal' ? outcome.value.code : (outcome.case ?? ''));
      workload.renewAt = 0;
      this.#quoteDue = true;
    }
  }

  #withdrawn(containerId: string): void {
    const workload = this.#workloads.find(({ number }) => Number.parseInt(containerId, 16) === number);
    if (workload?.bad !== true) {
      this.#options.record.refused('withdrawn without cause');
      return;
    }
    workload.renewAt = Number.POSITIVE_INFINITY;
    this.#options.record.withdrawal(performance.now() - this.#badSince);
  }

  #plan(): void {
    clearTimeout(this.#timer);
    const sinceMs = performance.now() - this.#quotedAt;
    this.#timer = setTimeout(() => this.#quote(), Math.max(0, this.#intervalMs - sinceMs));
  }

  /** Quote first, list second, then the evidence; renewals that are due by the half of the next interval go along. */
  #quote(): void {
    const now = performance.now();
    if (this.#nonce === undefined || this.#nonce.until < now || this.#connection === undefined) {
      this.#quoteDue = true;
      this.#send({ case: 'nonceRequest', value: {} });
      return;
    }
    this.#quoteDue = false;
    const nonce = this.#nonce.value;
    this.#nonce = undefined;
    const due = this.#workloads.filter(({ renewAt }) => renewAt <= now + this.#intervalMs / 2);
    const released = due.flatMap(({ held }) => held ?? []);
    const requests = due.map((workload) => {
      const request = { ...workload.template, id: nextId++ };
      workload.held = request.id;
      return request;
    });
    const leaves = requests.map(({ kind, record, subject }) => workloadLeaf(kind, sha256(record), sha256(subject)));
    const { exporter } = this.#connection;
    const root = batchRoot(leaves);
    const { akName } = this.tpm;
    const extraData = quoteExtraData({ akName, exporter, nonce, root, count: leaves.length });
    const quote = this.tpm.quote(extraData, this.#kernel.pcrs);
    if (released.length > 0) this.#send({ case: 'release', value: { ids: released } });
    this.#sendList();
    this.#quotedAt = performance.now();
    // Evidence that came too late has no verdict.
    this.#plan();
    this.#send({
      case: 'evidence',
      value: { nonce, ...quote, listLength: BigInt(this.#sentBytes), requests, confirms: [] },
    });
  }

  #sendList(): void {
    const { list } = this.#kernel;
    for (const data of chunksOf(list.subarray(this.#sentBytes))) {
      this.#send({ case: 'list', value: { offset: BigInt(this.#sentBytes), data } });
      this.#sentBytes += data.length;
    }
  }

  #enrolmentQuote({ credentialBlob, encryptedSecret, nonce }: EnrolChallenge, csr: Uint8Array, exporter: Uint8Array) {
    const { ekPublic, akName } = this.tpm;
    const secret = this.tpm.activate(credentialBlob, encryptedSecret);
    const { trustDomain } = this.#options.place;
    const extraData = enrolmentExtraData({ trustDomain, nonce, secret, ekPublic, akName, csr, exporter });
    return this.tpm.quote(extraData, this.#kernel.pcrs);
  }

  #send(message: AttestMessage): void {
    this.#call?.send(
      toBinary(AttestRequestSchema, create(AttestRequestSchema, { message: message ?? { case: undefined } })),
    );
  }
}

let nextId = 1n;
const containers = new Map<number, Uint8Array>();
const templates = new Map<number, ScriptedRequest>();
const kernels = new Map<string, MemoryKernel>();

/** What every node of the size has measured before it does anything of its own. */
function measuredKernel({ workloads, extraEntries }: Pick<FleetOptions, 'workloads' | 'extraEntries'>): MemoryKernel {
  const key = `${workloads} ${extraEntries}`;
  const known = kernels.get(key);
  if (known !== undefined) return known;
  const kernel = new MemoryKernel(SYSTEM);
  kernels.set(key, kernel);
  for (const file of HOST_FILES.slice(0, 2)) kernel.measureHost(file);
  for (let number = 1; number <= workloads; number++)
    for (const file of IMAGE_FILES.slice(0, 2)) kernel.measureContainer(file, { uid: uidOf(number) });
  const [file] = IMAGE_FILES;
  const owners = Math.max(1, workloads);
  // The same file by other owners of a range: entries of their own, as many different files of an image would be.
  for (let at = 0; file !== undefined && at < extraEntries; at++) {
    const uid = uidOf(1 + (at % owners)) + 1 + Math.floor(at / owners);
    kernel.measureContainer(file, { uid: Math.min(uid, uidOf(2) - 1), mode: 0o100000 + (at % 4096) });
  }
  return kernel;
}

/** A workload's request but for its key, which is each one's own. */
function templateOf(number: number): ScriptedRequest {
  const known = templates.get(number) ?? requestOf(containerOf(number));
  templates.set(number, known);
  return known;
}

function freshSubject(): Uint8Array {
  const { publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  return new Uint8Array(publicKey.export({ format: 'der', type: 'spki' }));
}

function containerBytes(number: number): Uint8Array {
  const known = containers.get(number) ?? encodeContainer(containerOf(number));
  containers.set(number, known);
  return known;
}

function* chunksOf(bytes: Uint8Array): Generator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += CHUNK_BYTES) yield bytes.subarray(at, at + CHUNK_BYTES);
}
