import { copyFile, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type StartedService, startService } from '../program.ts';
import type { SoftwareTpm } from './software-tpm.ts';

const FIRMWARE = '/usr/share/OVMF/OVMF_CODE_4M.fd';
const FIRMWARE_VARIABLES = '/usr/share/OVMF/OVMF_VARS_4M.fd';
export const MEMORY_MIB = 2048;

/** Where the node finds the server: an address that only leads to the server's port on this machine. */
export const SERVER_ADDRESS_IN_NODE = '10.0.2.100:8443';
/** The same for spire-server. */
export const SPIRE_ADDRESS_IN_NODE = { host: '10.0.2.101', port: 8081 } as const;

/** What measures itself into PCR 9. DESIGN section 4: kernel code closed, no kexec, no ptrace, no nested namespaces. */
export const COMMAND_LINE = [
  'console=ttyS0',
  'quiet',
  'panic=-1',
  'mitigations=off',
  'lockdown=integrity',
  'sysctl.kernel.kexec_load_disabled=1',
  'sysctl.kernel.yama.ptrace_scope=3',
  'sysctl.kernel.unprivileged_userns_clone=0',
].join(' ');

/** QEMU's firmware adds the initrd's name, depending on its version; the kernel's EFI stub measures the whole line. */
export function measuredCommandLines(line: string = COMMAND_LINE): string[] {
  return [`${line} initrd=initrd`, line];
}

export interface MachineParts {
  readonly kernel: string;
  readonly initrd: string;
  /** Instead of `COMMAND_LINE`. */
  readonly commandLine?: string;
  /** squashfs, read only. */
  readonly root: string;
  /** ext4 with podman's storage. */
  readonly data: string;
  /** Whether what the machine writes to `data` stays. */
  readonly keepsData: boolean;
  readonly tpm: SoftwareTpm;
  /** Folder for sockets and logs. */
  readonly folder: string;
  /** By address in the node: a command, run once for each connection there with the connection as its input and output. */
  readonly relays: ReadonlyMap<string, string>;
}

export interface Machine {
  readonly service: StartedService;
  readonly controlSocket: string;
  readonly consoleLog: string;
}

/**
 * Boots a node by UEFI with its kernel, initrd and command line measured, on an emulated processor. cx16 is left out:
 * QEMU 7.2 emulates it wrongly, and the kernel panics now and then.
 */
export async function startMachine(parts: MachineParts): Promise<Machine> {
  const { folder } = parts;
  const variables = join(folder, 'firmware-variables.fd');
  await copyFile(FIRMWARE_VARIABLES, variables);
  const consoleLog = join(folder, 'console.log');
  const service = await startService(
    'qemu-system-x86_64',
    arguments_(parts, variables, consoleLog),
    join(folder, 'qemu.log'),
    // What QEMU writes beside a read-only disk goes with the folder, also where QEMU is killed while it starts.
    { TMPDIR: folder },
  );
  return { service, controlSocket: join(folder, 'control.sock'), consoleLog };
}

function arguments_(parts: MachineParts, variables: string, consoleLog: string): string[] {
  const disk = (file: string, options: string) => ['-drive', `file=${file},format=raw,if=virtio,${options}`];
  const relays = [...parts.relays].map(([address, command]) => `,guestfwd=tcp:${address}-cmd:${command}`).join('');
  return [
    ...[
      '-name',
      'lacre-lab',
      '-accel',
      'tcg,thread=multi',
      '-cpu',
      'max,-cx16',
      '-smp',
      '2',
      '-m',
      String(MEMORY_MIB),
      '-M',
      'q35',
    ],
    ...['-nodefaults', '-display', 'none', '-no-reboot', '-monitor', 'none'],
    ...[
      '-drive',
      `if=pflash,format=raw,readonly=on,file=${FIRMWARE}`,
      '-drive',
      `if=pflash,format=raw,file=${variables}`,
    ],
    ...['-kernel', parts.kernel, '-initrd', parts.initrd, '-append', parts.commandLine ?? COMMAND_LINE],
    ...disk(parts.root, 'readonly=on'),
    ...disk(parts.data, parts.keepsData ? 'cache=unsafe' : 'snapshot=on,cache=unsafe'),
    ...['-chardev', `file,id=console,path=${consoleLog}`, '-serial', 'chardev:console'],
    ...['-chardev', `socket,id=control,path=${join(parts.folder, 'control.sock')},server=on,wait=off`],
    ...['-device', 'virtio-serial-pci', '-device', 'virtserialport,chardev=control,name=lacre.control'],
    ...['-chardev', `socket,id=tpm,path=${parts.tpm.controlSocket}`, '-tpmdev', 'emulator,id=tpm0,chardev=tpm'],
    ...['-device', 'tpm-tis,tpmdev=tpm0'],
    ...['-netdev', `user,id=net0,restrict=on${relays}`, '-device', 'virtio-net-pci,netdev=net0,romfile='],
    ...['-object', 'rng-random,id=rng0,filename=/dev/urandom', '-device', 'virtio-rng-pci,rng=rng0'],
  ];
}

/** The end of what the node wrote to its console, for an error message. */
export async function consoleTail(machine: Machine): Promise<string> {
  const text = await readFile(machine.consoleLog, 'utf8').catch(() => '');
  return text
    .replace(/[^\x20-\x7e\n]/g, '')
    .trim()
    .split('\n')
    .slice(-8)
    .join('\n');
}
