import { BOOT_FINDINGS } from '../boot/boot-finding.ts';

/**
 * Every code that a finding may have, and what it means. The part before the first dot is the link of the chain that
 * failed. docs/findings.md is generated from this table. A finding is data for people and for requirements; an error
 * (src/error-code.ts) is input that could not be appraised at all.
 */
export const FINDING_CODES = {
  // tpm
  'tpm.clock.unsafe': 'the TPM lost power without an orderly shutdown, so its clock may repeat values',
  // boot
  ...BOOT_FINDINGS,
  // ima
  'ima.aggregate.missing': 'the measurement list does not begin with boot_aggregate',
  'ima.aggregate.unexpected': 'boot_aggregate does not hold the PCRs of this boot',
  'ima.aggregate.repeated': 'a second boot_aggregate is in the list: another kernel was started without a reboot',
  'ima.kexec.used': 'another kernel was loaded by kexec',
  'ima.module.unknown': 'a kernel module was loaded from memory that is no approved module',
  'ima.data.measured': 'the kernel measured data of its own, which is told but not judged',
  'ima.data.unknown': 'the kernel measured a buffer that nothing explains',
  'ima.name.unknown': 'an executed object has no path (memfd, shared memory), so its entry does not say what ran',
  'ima.digest.missing': 'an entry holds no file digest, so what ran is not known',
  'ima.digest.weak': 'an entry holds a file digest of another algorithm than SHA-256',
  'ima.violation': 'a file was open for writing while it was measured: some entry may not say what ran',
  'ima.filesystem.untrusted': 'a file was executed from a file system that can show IMA other content than it executes',
  'ima.list.unexplained': 'no beginning of the measurement list explains the PCRs that the TPM quoted',
  'ima.list.oversized': 'more different files than can be judged were executed or read',
  // container
  'container.attribution.host': 'the container has the powers of the host, so it has no identity of its own',
  'container.attribution.shared': 'what the container executes cannot be told from what others execute',
  'container.attribution.lost': 'a violation took the proof that entries of the uid range are of this container alone',
  'container.range.reused': 'an earlier container had the uid range in this epoch',
  'container.open': 'files can be executed in the container from elsewhere than its root',
  'container.exec.sessions': 'processes run in the container that its init did not start',
  'container.caller.exec': 'the caller was started in the container by exec',
  'container.caller.foreign': 'the caller does not live in the container',
  'container.record.stale': 'the record is not of the container as it is now',
  // appraisal: the host
  'appraisal.host.unknown': 'no reference values are approved for this host',
  'appraisal.host.refused': 'the host failed, so no container on it can be trusted',
  'appraisal.policy.unproven': 'it is not proven which IMA policy the kernel has',
  'appraisal.policy.weak': 'the IMA policy leaves something unmeasured',
  'appraisal.init.unexpected': 'something else ran before the approved first program of the root',
  'appraisal.init.missing': 'the approved first program of the root is not in the list',
  'appraisal.kernel.open': 'kernel code can be changed or replaced on this host',
  'appraisal.observation.differs': 'the node observes another setting than its measured command line asks for',
  'appraisal.firmware.open': 'the firmware is not pinned, so any may have run',
  'appraisal.memory.open': 'root can write into the memory of other processes',
  'appraisal.root.unverified': 'the root file system is not verified by the kernel',
  'appraisal.tool.present': 'a shell, interpreter, debugger or engine client was executed on the host',
  // appraisal: containers
  'appraisal.image.unknown': 'nobody approved the image',
  'appraisal.image.differs': 'the container has another image configuration than the approved one',
  'appraisal.file.unexpected': 'a file of the image has other content than the approved one',
  'appraisal.file.unknown': 'a file that is in no approved image was executed or read',
  'appraisal.file.unattributed': 'a file that nothing explains was executed by this container or one like it',
  'appraisal.shared.failed': 'a container that cannot be told from this one failed',
  'appraisal.entrypoint.missing': 'the entrypoint of the image is not in the list',
  'appraisal.config.argv': 'the arguments are not those of the image',
  'appraisal.config.cwd': 'the working directory is not that of the image',
  'appraisal.config.user': 'the user is not that of the image',
  'appraisal.config.environment': 'the environment is not that of the image',
  'appraisal.config.interpreter': 'a variable tells the loader or an interpreter what else to run',
  'appraisal.config.mount': 'a mount lies over files of the image',
  'appraisal.config.capabilities': 'the container has capabilities that engines do not give by default',
  'appraisal.config.seccomp': 'no seccomp profile confines the container',
  'appraisal.config.namespaces': 'the container shares namespaces with the host',
  'appraisal.config.devices': 'the container was given devices',
  // appraisal: entries
  'appraisal.requirement.unmet': 'the workload matches an entry but not what its SPIFFE ID requires',
  'appraisal.entry.missing': 'no entry matches the workload',
} as const satisfies Record<string, string>;

export type FindingCode = keyof typeof FINDING_CODES;

/** The link of the chain that a code belongs to. */
export function linkOf(code: FindingCode): string {
  return code.slice(0, code.indexOf('.'));
}
