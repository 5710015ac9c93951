/*
 * Process 1 of the lab's node: mounts, network, and a control channel on a virtio port, by which the lab on the host
 * runs programs, reads and writes files, and starts the agent. One static program, so that no shell and no
 * general-purpose tool comes into the node's measurement list on the lab's account.
 *
 * Frame, both ways: u32 length of the rest, u32 id, u8 kind, payload (big endian). An answer carries its request's id.
 *   R  run            u32 time limit (ms), argv as NUL-terminated strings   -> r  u32 status, u32 length, stdout, stderr
 *   S  start          u32 uid, u32 gid, u64 ambient capabilities, log path NUL, argv   -> p  u32 pid; at its end  r
 *   W  write file     u32 mode, u32 uid, u32 gid, path NUL, content         -> o
 *   F  read file      u64 offset, u32 most, path NUL                        -> f  content
 *   K  kill           u32 pid, u32 signal                                   -> o
 *   O  power off                                                            -> o, then silence
 *   an error                                                                -> e  text
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <net/if.h>
#include <net/route.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/reboot.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PORT_NAME "lacre.control"
#define FRAME_MOST (64u << 20)
#define FILE_PART_MOST (4u << 20)
#define OUTPUT_MOST (1u << 20)
#define JOBS_MOST 32
#define ARGUMENTS_MOST 64
#define AGENT_UID 950

enum { OUT, ERR };

struct output {
	int fd;
	char *bytes;
	size_t used;
};

struct job {
	pid_t pid; /* 0: free */
	uint32_t id;
	int64_t deadline_ms; /* 0: none */
	struct output outputs[2];
	int ended, status;
};

static struct job jobs[JOBS_MOST];
static int port;
static char **environment;

static void die(const char *what)
{
	dprintf(STDOUT_FILENO, "lab init: %s: %s\n", what, strerror(errno));
	sync();
	reboot(RB_POWER_OFF);
	for (;;)
		pause();
}

static int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

/* --- setup ------------------------------------------------------------------------------------------------------ */

static void must_mount(const char *source, const char *target, const char *type, unsigned long flags, const char *data)
{
	mkdir(target, 0755);
	if (mount(source, target, type, flags, data))
		die(target);
}

static void write_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		dprintf(STDOUT_FILENO, "lab init: %s: %s\n", path, strerror(errno));
	close(fd);
}

static void own(const char *path, uid_t uid, gid_t gid, mode_t mode)
{
	if (chown(path, uid, gid) || chmod(path, mode))
		die(path);
}

static void make_folder(const char *path, uid_t owner, mode_t mode)
{
	mkdir(path, mode);
	own(path, owner, owner, mode);
}

static void mount_all(void)
{
	const unsigned long closed = MS_NOSUID | MS_NODEV | MS_NOEXEC;

	if (access("/sys/kernel/security/ima", F_OK)) /* an initrd of a distribution leaves it to the first program */
		must_mount("securityfs", "/sys/kernel/security", "securityfs", closed, 0);
	must_mount("tmpfs", "/run", "tmpfs", MS_NOSUID | MS_NODEV, "mode=755");
	must_mount("tmpfs", "/tmp", "tmpfs", closed, "mode=1777");
	must_mount("tmpfs", "/var/tmp", "tmpfs", closed, "mode=1777");
	must_mount("devpts", "/dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, "ptmxmode=666");
	must_mount("shm", "/dev/shm", "tmpfs", closed, "mode=1777");
	must_mount("mqueue", "/dev/mqueue", "mqueue", closed, 0);
	must_mount("cgroup", "/sys/fs/cgroup", "cgroup2", closed, 0);
	must_mount("/dev/vdb", "/var/lib/containers", "ext4", MS_NODEV, 0);
	must_mount("state", "/var/lib/lacre", "tmpfs", MS_NOSUID | MS_NODEV, "mode=755"); /* the agent's native part is mapped from it */
	if (mount(0, "/", 0, MS_REC | MS_SHARED, 0))
		die("shared mounts");
	make_folder("/run/lacre", 0, 0755);
	make_folder("/run/lacre/agent", AGENT_UID, 0755);
	make_folder("/var/lib/lacre/agent", AGENT_UID, 0700);
	must_mount("mesh", "/run/lacre/mesh", "tmpfs", closed, "mode=1777");
	make_folder("/run/lab", 0, 0700);
}

/* Controllers for containers; this process itself must not sit in the root group. */
static void prepare_cgroups(void)
{
	char text[512] = "", word[64];
	FILE *file = fopen("/sys/fs/cgroup/cgroup.controllers", "re");

	mkdir("/sys/fs/cgroup/init", 0755);
	write_text("/sys/fs/cgroup/init/cgroup.procs", "1");
	while (file && fscanf(file, "%62s", word) == 1) {
		snprintf(text, sizeof text, "+%s", word);
		write_text("/sys/fs/cgroup/cgroup.subtree_control", text);
	}
	if (file)
		fclose(file);
}

static void set_address(int s, struct ifreq *request, unsigned long command, const char *address)
{
	struct sockaddr_in *in = (struct sockaddr_in *)&request->ifr_addr;

	memset(in, 0, sizeof *in);
	in->sin_family = AF_INET;
	inet_pton(AF_INET, address, &in->sin_addr);
	if (ioctl(s, command, request))
		die("network address");
}

static void network_up(const char *name, const char *address)
{
	struct ifreq request = {0};
	int s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	snprintf(request.ifr_name, IFNAMSIZ, "%s", name);
	if (address) {
		set_address(s, &request, SIOCSIFADDR, address);
		set_address(s, &request, SIOCSIFNETMASK, "255.255.255.0");
	}
	if (ioctl(s, SIOCGIFFLAGS, &request))
		die(name);
	request.ifr_flags |= IFF_UP;
	if (ioctl(s, SIOCSIFFLAGS, &request))
		die(name);
	close(s);
}

static void prepare_network(void)
{
	DIR *folder = opendir("/sys/class/net");
	struct dirent *entry;

	network_up("lo", 0);
	while (folder && (entry = readdir(folder)))
		if (entry->d_name[0] == 'e')
			network_up(entry->d_name, "10.0.2.15");
	if (folder)
		closedir(folder);
	if (sethostname("node", 4))
		die("host name");
}

static void open_port(void)
{
	char path[300], name[64];
	struct dirent *entry;

	for (int tries = 0; tries < 100; tries++, usleep(50000)) {
		DIR *folder = opendir("/sys/class/virtio-ports");
		while (folder && (entry = readdir(folder))) {
			snprintf(path, sizeof path, "/sys/class/virtio-ports/%s/name", entry->d_name);
			FILE *file = entry->d_name[0] == '.' ? 0 : fopen(path, "re");
			int found = file && fscanf(file, "%63s", name) == 1 && !strcmp(name, PORT_NAME);
			if (file)
				fclose(file);
			snprintf(path, sizeof path, "/dev/%s", entry->d_name);
			if (found && (port = open(path, O_RDWR | O_CLOEXEC)) >= 0) {
				closedir(folder);
				return;
			}
		}
		if (folder)
			closedir(folder);
	}
	die("control channel");
}

/* --- frames ----------------------------------------------------------------------------------------------------- */

static int transfer(int writing, char *bytes, size_t length)
{
	while (length > 0) {
		ssize_t done = writing ? write(port, bytes, length) : read(port, bytes, length);
		if (done < 0 && errno != EINTR && errno != EAGAIN)
			return -1;
		if (done <= 0) {
			usleep(20000); /* nobody is connected on the host's side */
			continue;
		}
		bytes += done;
		length -= done;
	}
	return 0;
}

static void put32(char *at, uint32_t value)
{
	value = htonl(value);
	memcpy(at, &value, 4);
}

static uint32_t get32(const char *at)
{
	uint32_t value;

	memcpy(&value, at, 4);
	return ntohl(value);
}

static uint64_t get64(const char *at)
{
	return (uint64_t)get32(at) << 32 | get32(at + 4);
}

static void answer(uint32_t id, char kind, const char *first, size_t first_length, const char *second, size_t second_length)
{
	char head[9];

	put32(head, 5 + first_length + second_length);
	put32(head + 4, id);
	head[8] = kind;
	if (transfer(1, head, sizeof head) || transfer(1, (char *)first, first_length) ||
	    transfer(1, (char *)second, second_length))
		die("control channel");
}

static void answer_error(uint32_t id, const char *what)
{
	char text[256];
	int length = snprintf(text, sizeof text, "%.200s: %s", what, strerror(errno));

	answer(id, 'e', text, length, 0, 0);
}

static void answer_done(uint32_t id)
{
	answer(id, 'o', 0, 0, 0, 0);
}

/* --- programs --------------------------------------------------------------------------------------------------- */

/* Strings up to the payload's end; the caller has put a NUL behind it. */
static int split(char *text, char *end, char **list)
{
	int count = 0;

	for (; text < end && count < ARGUMENTS_MOST - 1; text += strlen(text) + 1)
		list[count++] = text;
	list[count] = 0;
	return count;
}

static void become(uid_t uid, gid_t gid, uint64_t capabilities)
{
	struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
	struct __user_cap_data_struct data[2] = {0};

	for (int i = 0; i < 2; i++)
		data[i].permitted = data[i].effective = data[i].inheritable = capabilities >> (32 * i);
	if (prctl(PR_SET_KEEPCAPS, 1) || setgroups(0, 0) || setresgid(gid, gid, gid) || setresuid(uid, uid, uid) ||
	    syscall(SYS_capset, &header, data))
		_exit(126);
	for (int c = 0; c < 64; c++)
		if (capabilities >> c & 1 && prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, c, 0, 0))
			_exit(126);
}

static struct job *free_job(void)
{
	for (int i = 0; i < JOBS_MOST; i++)
		if (!jobs[i].pid)
			return &jobs[i];
	errno = EAGAIN;
	return 0;
}

static void child_side(int out, int err, char **argv)
{
	sigset_t none;
	int null = open("/dev/null", O_RDONLY);

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, 0);
	setsid();
	dup2(null, 0);
	dup2(out, 1);
	dup2(err, 2);
	close_range(3, ~0U, 0);
	execve(argv[0], argv, environment);
	dprintf(2, "%s: %s\n", argv[0], strerror(errno));
	_exit(127);
}

static void run(uint32_t id, char *payload, char *end)
{
	char *argv[ARGUMENTS_MOST];
	int out[2], err[2];
	struct job *job = free_job();

	if (!job || split(payload + 4, end, argv) < 1 || pipe2(out, O_CLOEXEC) || pipe2(err, O_CLOEXEC))
		return answer_error(id, "run");
	memset(job, 0, sizeof *job);
	job->id = id;
	job->deadline_ms = now_ms() + get32(payload);
	job->pid = fork();
	if (job->pid == 0)
		child_side(out[1], err[1], argv);
	close(out[1]);
	close(err[1]);
	job->outputs[OUT].fd = out[0];
	job->outputs[ERR].fd = err[0];
	if (job->pid < 0) {
		job->pid = 0;
		answer_error(id, "fork");
	}
}

static void start(uint32_t id, char *payload, char *end)
{
	char *argv[ARGUMENTS_MOST], *log = payload + 16, pid[4];
	struct job *job = free_job();
	int fd = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);

	if (!job || fd < 0 || split(log + strlen(log) + 1, end, argv) < 1)
		return answer_error(id, log);
	memset(job, 0, sizeof *job);
	job->id = id;
	job->outputs[OUT].fd = job->outputs[ERR].fd = -1;
	job->pid = fork();
	if (job->pid == 0) {
		become(get32(payload), get32(payload + 4), get64(payload + 8));
		child_side(fd, fd, argv);
	}
	close(fd);
	put32(pid, job->pid);
	answer(id, 'p', pid, 4, 0, 0);
}

static void report(struct job *job)
{
	struct output *out = &job->outputs[OUT], *err = &job->outputs[ERR];
	size_t total = 8 + out->used + err->used;
	char *body = malloc(total);

	if (!body)
		die("memory");
	put32(body, job->status);
	put32(body + 4, out->used);
	if (out->used)
		memcpy(body + 8, out->bytes, out->used);
	if (err->used)
		memcpy(body + 8 + out->used, err->bytes, err->used);
	answer(job->id, 'r', body, total, 0, 0);
	free(body);
	for (int i = 0; i < 2; i++) {
		if (job->outputs[i].fd >= 0)
			close(job->outputs[i].fd);
		free(job->outputs[i].bytes);
	}
	job->pid = 0;
}

static void take_output(struct output *output)
{
	char chunk[16384];
	ssize_t got = read(output->fd, chunk, sizeof chunk);

	if (got <= 0) {
		close(output->fd);
		output->fd = -1;
		return;
	}
	if (output->used + got > OUTPUT_MOST)
		got = OUTPUT_MOST - output->used;
	char *grown = realloc(output->bytes, output->used + got + 1);
	if (!grown)
		die("memory");
	output->bytes = grown;
	memcpy(grown + output->used, chunk, got);
	output->used += got;
}

static void reap(void)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
		for (int i = 0; i < JOBS_MOST; i++)
			if (jobs[i].pid == pid) {
				jobs[i].ended = 1;
				jobs[i].status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
			}
}

/* A job is over when its process has ended; what a grandchild (conmon) keeps open isn't waited for. */
static void finish_jobs(void)
{
	for (int i = 0; i < JOBS_MOST; i++) {
		struct job *job = &jobs[i];
		if (job->pid && !job->ended && job->deadline_ms && now_ms() > job->deadline_ms) {
			kill(-job->pid, SIGKILL);
			job->deadline_ms = 0;
		}
		if (!job->pid || !job->ended)
			continue;
		for (int o = 0; o < 2; o++) {
			struct pollfd ready = {job->outputs[o].fd, POLLIN, 0};
			while (ready.fd >= 0 && poll(&ready, 1, 0) > 0) {
				take_output(&job->outputs[o]);
				ready.fd = job->outputs[o].fd;
			}
		}
		report(job);
	}
}

/* --- files ------------------------------------------------------------------------------------------------------ */

static void write_file(uint32_t id, char *payload, char *end)
{
	char *path = payload + 12, *content = path + strlen(path) + 1;
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, get32(payload));

	if (fd < 0)
		return answer_error(id, path);
	while (content < end) {
		ssize_t done = write(fd, content, end - content);
		if (done < 0) {
			answer_error(id, path);
			close(fd);
			return;
		}
		content += done;
	}
	uid_t uid = get32(payload + 4);
	if (uid != UINT32_MAX && (fchown(fd, uid, get32(payload + 8)) || fchmod(fd, get32(payload))))
		answer_error(id, path);
	else
		answer_done(id);
	close(fd);
}

static void read_file(uint32_t id, char *payload)
{
	uint64_t offset = get64(payload);
	size_t most = get32(payload + 8), used = 0;
	char *path = payload + 12, *bytes = most <= FILE_PART_MOST ? malloc(most + 1) : 0;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t got = 1;

	if (fd < 0 || !bytes || (offset > 0 && lseek(fd, offset, SEEK_SET) < 0)) {
		answer_error(id, path);
	} else {
		while (used < most && (got = read(fd, bytes + used, most - used)) > 0)
			used += got;
		if (got < 0)
			answer_error(id, path);
		else
			answer(id, 'f', bytes, used, 0, 0);
	}
	if (fd >= 0)
		close(fd);
	free(bytes);
}

static void power_off(uint32_t id)
{
	sync();
	for (int tries = 0; tries < 40 && umount("/var/lib/containers/storage/overlay") && errno == EBUSY; tries++)
		usleep(50000);
	if (umount("/var/lib/containers"))
		mount(0, "/var/lib/containers", 0, MS_REMOUNT | MS_RDONLY, 0);
	sync();
	answer_done(id);
	usleep(200000);
	reboot(RB_POWER_OFF);
}

/* --- requests --------------------------------------------------------------------------------------------------- */

static void handle(uint32_t id, char kind, char *payload, char *end)
{
	static const struct { char kind; long least; } sizes[] = {{'R', 5}, {'S', 18}, {'W', 13}, {'F', 13}, {'K', 8}, {'O', 0}};
	size_t i = 0, count = sizeof sizes / sizeof *sizes;

	errno = EINVAL;
	while (i < count && sizes[i].kind != kind)
		i++;
	if (i == count || end - payload < sizes[i].least)
		return answer_error(id, "malformed request");
	switch (kind) {
	case 'R':
		return run(id, payload, end);
	case 'S':
		return start(id, payload, end);
	case 'W':
		return write_file(id, payload, end);
	case 'F':
		return read_file(id, payload);
	case 'K':
		return kill(get32(payload), get32(payload + 4)) ? answer_error(id, "kill") : answer_done(id);
	default:
		return power_off(id);
	}
}

static void take_request(void)
{
	char head[4];

	if (transfer(0, head, sizeof head))
		die("control channel");
	uint32_t length = get32(head);
	if (length < 5 || length > FRAME_MOST) {
		errno = EMSGSIZE;
		die("control channel");
	}
	char *frame = malloc(length + 1);
	if (!frame || transfer(0, frame, length))
		die("control channel");
	frame[length] = 0;
	handle(get32(frame), frame[4], frame + 5, frame + length);
	free(frame);
}

static void serve(int signals)
{
	for (;;) {
		struct pollfd fds[2 + 2 * JOBS_MOST] = {{port, POLLIN, 0}, {signals, POLLIN, 0}};
		int count = 2;
		struct output *owners[2 + 2 * JOBS_MOST];
		struct signalfd_siginfo info;

		for (int i = 0; i < JOBS_MOST; i++)
			for (int o = 0; o < 2 && jobs[i].pid; o++)
				if (jobs[i].outputs[o].fd >= 0) {
					owners[count] = &jobs[i].outputs[o];
					fds[count++] = (struct pollfd){jobs[i].outputs[o].fd, POLLIN, 0};
				}
		poll(fds, count, 250);
		for (int i = 2; i < count; i++)
			if (fds[i].revents)
				take_output(owners[i]);
		if (fds[1].revents && read(signals, &info, sizeof info) > 0)
			reap();
		finish_jobs();
		if (fds[0].revents & POLLIN)
			take_request();
		else if (fds[0].revents)
			usleep(20000);
	}
}

int main(void)
{
	static char *variables[] = {"PATH=/usr/sbin:/usr/bin", "HOME=/root", "LANG=C.UTF-8", 0};
	sigset_t watched;

	environment = variables;
	sigemptyset(&watched);
	sigaddset(&watched, SIGCHLD);
	sigprocmask(SIG_BLOCK, &watched, 0);
	signal(SIGPIPE, SIG_IGN);
	int signals = signalfd(-1, &watched, SFD_CLOEXEC);
	mount_all();
	prepare_cgroups();
	prepare_network();
	own("/dev/tpmrm0", AGENT_UID, AGENT_UID, 0600);
	open_port();
	answer(0, 'o', 0, 0, 0, 0); /* ready */
	serve(signals);
}
