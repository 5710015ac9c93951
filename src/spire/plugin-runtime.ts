import { createServer, Http2ServerRequest, Http2ServerResponse } from 'node:http2';
import { setTimeout as sleep } from 'node:timers/promises';
import type { DescService } from '@bufbuild/protobuf';
import { Code, ConnectError, type ConnectRouter, type HandlerContext, type ServiceImpl } from '@connectrpc/connect';
import { connectNodeAdapter } from '@connectrpc/connect-node';
import type { Logger } from 'pino';
import type { Native } from '../agent/native.ts';
import { TurnSlices } from '../agent/turn-slices.ts';
import { LacreError } from '../lacre-error.ts';
import { Health, HealthCheckResponse_ServingStatus } from '../proto/grpc/health/v1/health_pb.ts';
import { type ConnInfo, GRPCBroker } from '../proto/plugin/grpc_broker_pb.ts';
import { GRPCController } from '../proto/plugin/grpc_controller_pb.ts';
import { GRPCStdio } from '../proto/plugin/grpc_stdio_pb.ts';
import { Config } from '../proto/spire/service/common/config/v1/config_pb.ts';
import { Init } from '../proto/spire/service/private/init/v1/init_pb.ts';
import { isCallOf, type PlainUnary, servePlainUnary } from './plain-unary.ts';
import { listenForSpire } from './plugin-socket.ts';
import { statusOf } from './plugin-status.ts';

/** What SPIRE calls a kind of plugin: name and value of the variable by which it says that it started the plugin. */
export type PluginType = 'NodeAttestor' | 'WorkloadAttestor';

/** What a plugin is, apart from how SPIRE reaches it. */
export interface Plugin {
  readonly type: PluginType;
  /** The service that SPIRE wants of this type. */
  readonly service: DescService;
  /** Adds that service's routes. */
  readonly routes: (router: ConnectRouter) => void;
  /** A method of it that is called for each workload; it has no route. */
  readonly plain?: PlainUnary;
  /**
   * Takes a configuration in place of the last. Codes: spire.config.invalid, and whatever makes it unusable.
   * @param trustDomain its name, without scheme
   */
  configure(trustDomain: string, text: string): Promise<void>;
  /** Every fault of a configuration, which is not taken. */
  validate(trustDomain: string, text: string): Promise<readonly string[]>;
  /** Ends what the plugin holds. */
  stop(): Promise<void>;
}

const PROTOCOL = '1|1|unix';
const MAX_MESSAGE_BYTES = 4 * 1024 * 1024;
/** Shorter than the two seconds after which go-plugin kills. */
const STOP_MS = 1_500;
/** Nobody but SPIRE's one connection is expected: a plugin that nobody holds ends. */
const ABANDONED_MS = 1_000;

/**
 * Refuses to go on where SPIRE did not start this process. Codes: spire.plugin.started.
 * @param environment variables of the process
 */
export function requireSpire(type: PluginType, environment: Readonly<Record<string, string | undefined>>): void {
  if (environment[type] === type) return;
  throw new LacreError(
    'spire.plugin.started',
    `this is a plugin of SPIRE, of type ${type}: SPIRE starts it (plugin_cmd, docs/spire.md)`,
  );
}

/**
 * Serves a plugin over the go-plugin protocol, version 1, until SPIRE ends it: gRPC in clear text on a unix socket, the
 * handshake line on stdout. Codes: spire.plugin.socket.
 */
export async function servePlugin(
  given: Plugin,
  options: { readonly native: Native; readonly log: Logger; readonly announce?: (line: string) => void },
): Promise<void> {
  const { native, log, announce = (line: string) => process.stdout.write(line) } = options;
  const plugin = oneAtATime(given);
  const shutdown = new AbortController();
  const server = createServer({
    settings: { maxConcurrentStreams: 4096, initialWindowSize: 1 << 20 },
    maxSessionMemory: 128,
  });
  const adapter = connectNodeAdapter({
    routes: (router) => addRoutes(router, plugin, shutdown, log),
    connect: false,
    grpcWeb: false,
    acceptCompression: [],
    readMaxBytes: MAX_MESSAGE_BYTES,
    fallback: answerUnknown,
  });
  const calls = { turns: new TurnSlices(), statusOf: (error: unknown) => statusOf(error, log) };
  server.on('stream', (stream, headers, _flags, rawHeaders) => {
    if (isCallOf(plugin.plain, headers)) servePlainUnary(stream, { ...calls, method: plugin.plain });
    else adapter(new Http2ServerRequest(stream, headers, {}, rawHeaders), new Http2ServerResponse(stream));
  });
  const socket = await listenForSpire(server, native, log);
  socket.abandoned.then(() => sleep(ABANDONED_MS, undefined, { ref: false })).then(() => shutdown.abort());
  announce(`${PROTOCOL}|${socket.path}|grpc|\n`);
  await new Promise<void>((resolve) => {
    shutdown.signal.addEventListener('abort', () => resolve(), { once: true });
    for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => resolve());
  });
  await Promise.race([plugin.stop().catch(() => undefined), sleep(STOP_MS)]);
  await socket.close();
}

/**
 * The same plugin, whose configurations and whose end wait for each other: of two at once, one would be left running
 * with nobody who knows of it.
 */
function oneAtATime(plugin: Plugin): Plugin {
  let last: Promise<unknown> = Promise.resolve();
  const inTurn = (work: () => Promise<void>): Promise<void> => {
    const turn = last.then(work);
    last = turn.catch(() => undefined);
    return turn;
  };
  return {
    ...plugin,
    configure: (trustDomain, text) => inTurn(() => plugin.configure(trustDomain, text)),
    stop: () => inTurn(() => plugin.stop()),
  };
}

function addRoutes(router: ConnectRouter, plugin: Plugin, shutdown: AbortController, log: Logger): void {
  router.service(GRPCBroker, { startStream: holdBroker });
  router.service(GRPCStdio, { streamStdio: (_request, context) => holdOpen(context) });
  router.service(GRPCController, {
    shutdown: () => {
      // The answer goes out first.
      setTimeout(() => shutdown.abort(), 20);
      return {};
    },
  });
  router.service(Health, {
    check: () => ({ status: HealthCheckResponse_ServingStatus.SERVING }),
    async *watch(_request, context) {
      yield { status: HealthCheckResponse_ServingStatus.SERVING };
      await ended(context.signal);
    },
  });
  router.service(Init, {
    init: () => ({ pluginServiceNames: [plugin.service.typeName, Config.typeName] }),
    deinit: async () => {
      await plugin.stop();
      return {};
    },
  });
  router.service(Config, configService(plugin, log));
  plugin.routes(router);
}

function configService(plugin: Plugin, log: Logger): ServiceImpl<typeof Config> {
  return {
    configure: async ({ coreConfiguration, hclConfiguration }) => {
      try {
        await plugin.configure(trustDomainOf(coreConfiguration), hclConfiguration);
        return {};
      } catch (error) {
        throw statusOf(error, log);
      }
    },
    validate: async ({ coreConfiguration, hclConfiguration }) => {
      try {
        const notes = await plugin.validate(trustDomainOf(coreConfiguration), hclConfiguration);
        return { valid: notes.length === 0, notes: [...notes] };
      } catch (error) {
        throw statusOf(error, log);
      }
    },
  };
}

function trustDomainOf(core: { readonly trustDomain: string } | undefined): string {
  const name = core?.trustDomain ?? '';
  if (/^[a-z0-9._-]{1,255}$/.test(name)) return name;
  throw new LacreError(
    'spire.config.invalid',
    `SPIRE gave no trust domain that could be one: ${JSON.stringify(name.slice(0, 300))}`,
  );
}

/** SPIRE says where its host services listen; the plugin uses none, and asks for none. */
// biome-ignore lint/correctness/useYield: a stream that stays open and empty
async function* holdBroker(requests: AsyncIterable<ConnInfo>): AsyncGenerator<ConnInfo> {
  for await (const _ of requests) {
    // Nothing is connected to.
  }
}

/** Nothing is written to stdout or stderr by other ways than the process's own. */
// biome-ignore lint/correctness/useYield: a stream that stays open and empty
async function* holdOpen(context: HandlerContext): AsyncGenerator<never> {
  await ended(context.signal);
}

function ended(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
}

const answerUnknown: NonNullable<Parameters<typeof connectNodeAdapter>[0]['fallback']> = (request, response) => {
  response.statusCode = 200;
  response.setHeader('content-type', 'application/grpc');
  response.setHeader('grpc-status', String(Code.Unimplemented));
  response.setHeader('grpc-message', `this plugin does not serve ${encodeURI(request.url ?? '').slice(0, 256)}`);
  response.end();
};

/** A method that the plugin has no use for. */
export function unimplemented(sentence: string): never {
  throw new ConnectError(sentence, Code.Unimplemented);
}
