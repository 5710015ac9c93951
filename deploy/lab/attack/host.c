/*
 * Root of the host as an attacker, with a program that the host's administrator approved: what it does beyond executing
 * files. Prints the errno of what it tried; 0: the kernel did it.
 *
 *   host module FILE             loads a kernel module from memory
 *   host kexec FILE              loads another kernel, by both calls
 *   host policy                  writes another IMA policy
 *   host extend                  extends PCR 10 by the TPM's own command
 *   host over FILE PATH          lays a file over another one
 *   host with NAME=VALUE PATH…   executes a program with a variable
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/kexec.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static int load_module(const char *path)
{
	struct stat status;
	int file = open(path, O_RDONLY | O_CLOEXEC);

	if (file < 0 || fstat(file, &status))
		return errno;
	char *bytes = malloc(status.st_size);
	if (!bytes || read(file, bytes, status.st_size) != status.st_size)
		return EIO;
	return syscall(SYS_init_module, bytes, status.st_size, "") ? errno : 0;
}

static int load_kernel(const char *path)
{
	int file = open(path, O_RDONLY | O_CLOEXEC);

	if (syscall(SYS_kexec_load, 0UL, 0UL, 0UL, (unsigned long)KEXEC_ARCH_DEFAULT) == 0)
		return 0;
	return syscall(SYS_kexec_file_load, file, -1, 1UL, "", (unsigned long)KEXEC_FILE_NO_INITRAMFS) ? errno : 0;
}

static int write_policy(void)
{
	static const char rule[] = "dont_measure func=BPRM_CHECK\n";
	int file = open("/sys/kernel/security/ima/policy", O_WRONLY | O_CLOEXEC);

	if (file < 0 || write(file, rule, sizeof rule - 1) < 0)
		return errno;
	return close(file) ? errno : 0;
}

/* TPM2_PCR_Extend (TPM 2.0 Library, part 3, 22.2) of PCR 10's SHA-256 bank with zeros, authorised by an empty password. */
static int extend(void)
{
	static uint8_t command[] = {
		0x80, 0x02, 0, 0, 0, 65, 0, 0, 0x01, 0x82, /* sessions, size, TPM_CC_PCR_Extend */
		0,    0,    0, 10, 0, 0, 0, 9, 0x40, 0, 0, 9, 0, 0, 0, 0, 0, /* PCR 10; TPM_RS_PW */
		0,    0,    0, 1, 0x00, 0x0b, /* one digest, SHA-256 */
		[33 ... 64] = 0,
	};
	uint8_t answer[4096];
	int tpm = open("/dev/tpmrm0", O_RDWR | O_CLOEXEC);

	if (tpm < 0 || write(tpm, command, sizeof command) != sizeof command || read(tpm, answer, sizeof answer) < 10)
		return errno ? errno : EIO;
	return answer[6] | answer[7] | answer[8] | answer[9] ? EPROTO : 0;
}

int main(int count, char **arguments)
{
	const char *what = count > 1 ? arguments[1] : "";
	int error = EINVAL;

	if (!strcmp(what, "module") && count == 3)
		error = load_module(arguments[2]);
	else if (!strcmp(what, "kexec") && count == 3)
		error = load_kernel(arguments[2]);
	else if (!strcmp(what, "policy"))
		error = write_policy();
	else if (!strcmp(what, "extend"))
		error = extend();
	else if (!strcmp(what, "over") && count == 4)
		error = mount(arguments[2], arguments[3], 0, MS_BIND, 0) ? errno : 0;
	else if (!strcmp(what, "with") && count > 3 && !putenv(arguments[2])) {
		execv(arguments[3], arguments + 3);
		error = errno;
	}
	printf("%d\n", error);
	return 0;
}
