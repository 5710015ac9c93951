import { authenticodeSha256 } from '../../boot/authenticode.ts';
import { parseEventLog } from '../../boot/event-log.ts';
import { equalBytes } from '../../bytes/equal.ts';
import { LacreError } from '../../lacre-error.ts';
import { MEMORY_MIB } from '../machine/machine.ts';

const KERNEL_PCR = 4;

/**
 * The kernel's image as the firmware gets and measures it: the packaged file, byte for byte, or with the fields of its
 * setup header that QEMU's loader (before version 10) fills in as a boot loader does. Which of the two, the reference
 * boot's event log says. Throws lab.build.kernel where it shows neither: something else was booted.
 */
export function measuredKernel(image: Uint8Array, initrdLength: number, eventLog: Uint8Array): Uint8Array {
  const digests = parseEventLog(eventLog)
    .filter(({ pcr }) => pcr === KERNEL_PCR)
    .flatMap(({ digests: { sha256 } }) => (sha256 ? [sha256] : []));
  for (const candidate of [image, withLoaderFields(image, initrdLength)]) {
    const digest = authenticodeSha256(candidate);
    if (digests.some((seen) => equalBytes(seen, digest))) return candidate;
  }
  throw new LacreError(
    'lab.build.kernel',
    "the firmware measured another kernel than the package's: this version of QEMU changes it in a way that the lab does not know",
  );
}

/** The same with another initrd: its address and length are in the header. @param measured with an initrd of `knownLength`. */
export function measuredWithInitrd(
  image: Uint8Array,
  { measured, knownLength }: { measured: Uint8Array; knownLength: number },
  initrdLength: number,
): Uint8Array {
  return equalBytes(measured, withLoaderFields(image, knownLength)) ? withLoaderFields(image, initrdLength) : image;
}

const REAL_MODE_ADDRESS = 0x1_0000;
const COMMAND_LINE_ADDRESS = 0x2_0000;
const ACPI_DATA_BYTES = 0x2_8000;

/** Fields of the setup header (kernel: arch/x86/boot.rst) with the values that QEMU's pc machines give them. */
function withLoaderFields(image: Uint8Array, initrdLength: number): Uint8Array {
  const header = Buffer.from(image);
  const highest = MEMORY_MIB * 1024 * 1024 - ACPI_DATA_BYTES - 1;
  header.writeUInt8(0xb0, 0x210); // type_of_loader: QEMU
  header.writeUInt8(header.readUInt8(0x211) | 0x80, 0x211); // loadflags: CAN_USE_HEAP
  header.writeUInt32LE((highest - initrdLength) & ~0xfff, 0x218); // ramdisk_image
  header.writeUInt32LE(initrdLength, 0x21c); // ramdisk_size
  header.writeUInt16LE(COMMAND_LINE_ADDRESS - REAL_MODE_ADDRESS - 0x200, 0x224); // heap_end_ptr
  header.writeUInt32LE(COMMAND_LINE_ADDRESS, 0x228); // cmd_line_ptr
  return header;
}
