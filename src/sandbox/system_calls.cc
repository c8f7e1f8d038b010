// The list of calls, grouped by what they are for, and libseccomp's compilation of it.
#include "sandbox/system_calls.h"

#include <linux/sched.h>
#include <seccomp.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>
#include <vector>

#include "base/error.h"

namespace dure {
namespace {

// Allowed whatever their arguments. Left out on purpose, because they reach beyond the program or
// are a wide door into the kernel: ptrace, process_vm_*, kcmp, pidfd_getfd (other processes);
// mount*, pivot_root, chroot, unshare, setns, fsopen and its kin (namespaces); bpf,
// perf_event_open, userfaultfd, io_uring_*, keyctl and its kin, modify_ldt, personality (kernel
// surface); memfd_create, memfd_secret, shm*, msg*, sem*, mq_*, mlock*, vmsplice (memory that no
// limit counts); open_by_handle_at, fanotify_*, quotactl, swapon, reboot, kexec_*, *_module,
// settimeofday and its kin (the machine); clone3 (its flags cannot be looked at; glibc falls back
// to clone).
constexpr const char* kAllowed[] = {
    // files
    "access",
    "faccessat",
    "faccessat2",
    "open",
    "openat",
    "openat2",
    "creat",
    "close",
    "close_range",
    "read",
    "write",
    "readv",
    "writev",
    "pread64",
    "pwrite64",
    "preadv",
    "pwritev",
    "preadv2",
    "pwritev2",
    "lseek",
    "_llseek",
    "stat",
    "fstat",
    "lstat",
    "newfstatat",
    "statx",
    "statfs",
    "fstatfs",
    "getdents",
    "getdents64",
    "getcwd",
    "chdir",
    "fchdir",
    "rename",
    "renameat",
    "renameat2",
    "mkdir",
    "mkdirat",
    "rmdir",
    "link",
    "linkat",
    "symlink",
    "symlinkat",
    "readlink",
    "readlinkat",
    "unlink",
    "unlinkat",
    "chmod",
    "fchmod",
    "fchmodat",
    "fchmodat2",
    "chown",
    "fchown",
    "lchown",
    "fchownat",
    "umask",
    "truncate",
    "ftruncate",
    "fallocate",
    "fadvise64",
    "readahead",
    "fsync",
    "fdatasync",
    "sync_file_range",
    "flock",
    "fcntl",
    "dup",
    "dup2",
    "dup3",
    "pipe",
    "pipe2",
    "sendfile",
    "copy_file_range",
    "splice",
    "tee",
    "utime",
    "utimes",
    "utimensat",
    "futimesat",
    "getxattr",
    "lgetxattr",
    "fgetxattr",
    "listxattr",
    "llistxattr",
    "flistxattr",
    "inotify_init",
    "inotify_init1",
    "inotify_add_watch",
    "inotify_rm_watch",
    // memory
    "brk",
    "mmap",
    "mmap2",
    "munmap",
    "mremap",
    "mprotect",
    "madvise",
    "msync",
    "mincore",
    "membarrier",
    "get_mempolicy",
    // waiting
    "select",
    "pselect6",
    "poll",
    "ppoll",
    "epoll_create",
    "epoll_create1",
    "epoll_ctl",
    "epoll_wait",
    "epoll_pwait",
    "epoll_pwait2",
    "eventfd",
    "eventfd2",
    "futex",
    "futex_waitv",
    "set_robust_list",
    "get_robust_list",
    "nanosleep",
    "clock_nanosleep",
    "pause",
    "alarm",
    "setitimer",
    "getitimer",
    "timer_create",
    "timer_settime",
    "timer_gettime",
    "timer_getoverrun",
    "timer_delete",
    "timerfd_create",
    "timerfd_settime",
    "timerfd_gettime",
    "restart_syscall",
    // signals
    "rt_sigaction",
    "rt_sigprocmask",
    "rt_sigreturn",
    "rt_sigpending",
    "rt_sigtimedwait",
    "rt_sigqueueinfo",
    "rt_tgsigqueueinfo",
    "rt_sigsuspend",
    "sigaltstack",
    "signalfd",
    "signalfd4",
    "kill",
    "tkill",
    "tgkill",
    "pidfd_open",
    "pidfd_send_signal",
    // processes and threads
    "fork",
    "vfork",
    "execve",
    "execveat",
    "exit",
    "exit_group",
    "wait4",
    "waitid",
    "getpid",
    "getppid",
    "gettid",
    "getpgid",
    "getpgrp",
    "setpgid",
    "getsid",
    "setsid",
    "set_tid_address",
    "rseq",
    "arch_prctl",
    "set_thread_area",
    "prctl",
    "sched_yield",
    "sched_getaffinity",
    "sched_setaffinity",
    "sched_getparam",
    "sched_getscheduler",
    "sched_get_priority_max",
    "sched_get_priority_min",
    "sched_rr_get_interval",
    "getcpu",
    "getpriority",
    "setpriority",
    "getrlimit",
    "setrlimit",
    "prlimit64",
    "getrusage",
    "times",
    "capget",
    // who and when
    "getuid",
    "geteuid",
    "getgid",
    "getegid",
    "getresuid",
    "getresgid",
    "getgroups",
    "setuid",
    "setgid",
    "setreuid",
    "setregid",
    "setresuid",
    "setresgid",
    "setfsuid",
    "setfsgid",
    "uname",
    "sysinfo",
    "time",
    "gettimeofday",
    "clock_gettime",
    "clock_getres",
    "getrandom",
    // local sockets (socket and socketpair are looked at below)
    "bind",
    "connect",
    "listen",
    "accept",
    "accept4",
    "getsockname",
    "getpeername",
    "sendto",
    "recvfrom",
    "sendmsg",
    "recvmsg",
    "sendmmsg",
    "recvmmsg",
    "setsockopt",
    "getsockopt",
    "shutdown",
};

// Denied with "not permitted" rather than "no such call", so that a program reads in its error
// what was meant.
constexpr const char* kForbidden[] = {
    "ptrace",
    "process_vm_readv",
    "process_vm_writev",
    "mount",
    "umount2",
    "pivot_root",
    "chroot",
    "unshare",
    "setns",
    "bpf",
    "userfaultfd",
    "perf_event_open",
    "io_uring_setup",
    "keyctl",
    "add_key",
    "request_key",
    "memfd_create",
    "personality",
    "reboot",
    "swapon",
    "init_module",
    "finit_module",
    "kexec_load",
    "settimeofday",
    "clock_settime",
    "sethostname",
    "mknod",
    "mknodat",
    "open_by_handle_at",
};

struct FilterEnd {
  void operator()(void* filter) const { seccomp_release(filter); }
};
using Filter = std::unique_ptr<void, FilterEnd>;

void check(int result, const char* what) {
  if (result < 0)
    fail(ErrorCode::kUnsupported, "cannot make the system call filter: {}: {}", what,
         std::strerror(-result));
}

void add_rule(const Filter& filter, uint32_t action, const char* name,
              const std::vector<scmp_arg_cmp>& arguments = {}) {
  const int number = seccomp_syscall_resolve_name(name);
  if (number == __NR_SCMP_ERROR) return;  // older or newer than this library
  const int result =
      seccomp_rule_add_array(filter.get(), action, number, static_cast<unsigned>(arguments.size()),
                             arguments.empty() ? nullptr : arguments.data());
  if (result == -EDOM) return;  // not a call of this architecture
  check(result, name);
}

void add_looked_at(const Filter& filter) {
  constexpr uint64_t kNamespaces = CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC |
                                   CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET;
  add_rule(filter, SCMP_ACT_ALLOW, "clone", {SCMP_A0(SCMP_CMP_MASKED_EQ, kNamespaces, 0)});
  add_rule(filter, SCMP_ACT_ALLOW, "socket", {SCMP_A0(SCMP_CMP_EQ, AF_UNIX)});
  add_rule(filter, SCMP_ACT_ERRNO(EACCES), "socket", {SCMP_A0(SCMP_CMP_NE, AF_UNIX)});
  add_rule(filter, SCMP_ACT_ALLOW, "socketpair", {SCMP_A0(SCMP_CMP_EQ, AF_UNIX)});
  // Typing into a terminal, were there one. The kernel looks at 32 bits of the request alone.
  constexpr uint64_t kRequest = 0xFFFFFFFF;
  for (const uint64_t request : {FIONREAD, FIOCLEX, FIONCLEX, FIONBIO, TCGETS, TIOCGWINSZ})
    add_rule(filter, SCMP_ACT_ALLOW, "ioctl", {SCMP_A1(SCMP_CMP_MASKED_EQ, kRequest, request)});
  add_rule(filter, SCMP_ACT_ERRNO(EPERM), "clone",
           {SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_NEWUSER, CLONE_NEWUSER)});
}

std::string exported(const Filter& filter) {
  const int file = memfd_create("filter", MFD_CLOEXEC);
  if (file < 0) fail_errno("cannot make the system call filter");
  const int result = seccomp_export_bpf(filter.get(), file);
  std::string bytes(static_cast<size_t>(lseek(file, 0, SEEK_END)), '\0');
  const ssize_t read = pread(file, bytes.data(), bytes.size(), 0);
  close(file);
  check(result, "export");
  if (read != static_cast<ssize_t>(bytes.size())) check(-EIO, "export");
  return bytes;
}

std::string compile() {
  const Filter filter(seccomp_init(SCMP_ACT_ERRNO(ENOSYS)));
  if (filter == nullptr) check(-ENOMEM, "start");
  for (const char* name : kAllowed) add_rule(filter, SCMP_ACT_ALLOW, name);
  for (const char* name : kForbidden) add_rule(filter, SCMP_ACT_ERRNO(EPERM), name);
  add_looked_at(filter);
  check(seccomp_attr_set(filter.get(), SCMP_FLTATR_CTL_OPTIMIZE, 2), "order");
  return exported(filter);
}

}  // namespace

const std::string& system_call_filter() {
  static const std::string filter = compile();
  return filter;
}

}  // namespace dure
