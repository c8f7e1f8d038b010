// Programs that try to get out of the sandbox, to hurt the machine, or to stay behind. Each prints
// LEAK where it got what it should not; each is looked at from outside too: none is left, nothing
// of the machine was changed, and time is bounded.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <thread>

#include "base/file.h"
#include "base/testing.h"
#include "sandbox/sandboxed_program.h"

namespace dure {
namespace {

std::string new_token() {
  static std::atomic<int> count = 0;
  return "dure-escape-" + std::to_string(::getpid()) + "-" + std::to_string(++count);
}

// Processes whose command line names the token: the program and all that it forked.
std::vector<std::string> command_lines_of(const std::string& token) {
  std::vector<std::string> lines;
  std::error_code gone;
  for (const auto& entry : std::filesystem::directory_iterator("/proc", gone)) {
    const int file = ::open((entry.path() / "cmdline").c_str(), O_RDONLY);
    if (file < 0) continue;
    char text[1 << 16];
    const ssize_t size = ::read(file, text, sizeof(text));
    ::close(file);
    std::string line(text, static_cast<size_t>(std::max<ssize_t>(size, 0)));
    if (line.find(token) != std::string::npos) lines.push_back(std::move(line));
  }
  return lines;
}

int processes_of(const std::string& token) {
  return static_cast<int>(command_lines_of(token).size());
}

// Those that run the program, not what is to start it: bubblewrap, and the shell that waits until
// its master has answered.
int programs_of(const std::string& token) {
  const std::vector<std::string> lines = command_lines_of(token);
  return static_cast<int>(std::count_if(lines.begin(), lines.end(), [](const std::string& line) {
    const std::string_view first = std::string_view(line).substr(0, line.find('\0'));
    return first.find("bwrap") == std::string_view::npos && !first.ends_with("/sh");
  }));
}

// Until count() has been 0 for a tenth of a second, at most `polls_max` fiftieths: a process that
// becomes another program, or is not yet one, is seen nowhere for a moment.
template <typename Count>
void wait_until_none(const Count& count, int polls_max) {
  int none = 0;
  for (int i = 0; i < polls_max && none < 5; ++i) {
    ::usleep(20'000);
    none = count() == 0 ? none + 1 : 0;
  }
}

SandboxedProgram python(const std::string& source, const std::string& token) {
  return {.arguments = {"-I", "/program/main.py", token}, .files = {{"main.py", source}}};
}

// What every attack's source begins with.
constexpr const char* kPrelude = R"(
import os, sys, time, socket, signal, ctypes, errno, threading, subprocess, resource
libc = ctypes.CDLL(None, use_errno=True)
def attempt(what, act):
    try:
        got = act()
    except BaseException as e:
        print("held", what, type(e).__name__, e, flush=True)
        return None
    print("LEAK", what, repr(got)[:200], flush=True)
    return got
)";

class Escape : public ::testing::Test {
 protected:
  void SetUp() override {
    if (const auto& missing = sandbox_missing()) GTEST_SKIP() << *missing;
  }

  // Runs it, and looks at what holds for every attack.
  SandboxResult attack(const std::string& source, const SandboxLimits& limits = {}) {
    const std::string token = new_token();
    SandboxResult result = run_sandboxed(python(kPrelude + source, token), limits);
    EXPECT_EQ(processes_of(token), 0);
    EXPECT_EQ(result.output.find("LEAK"), std::string::npos) << result.output;
    EXPECT_LT(result.wall_seconds, limits.wall_seconds + 5);
    EXPECT_LE(static_cast<int64_t>(result.output.size()), limits.output_bytes_max);
    EXPECT_LE(static_cast<int64_t>(result.errors.size()), limits.output_bytes_max);
    return result;
  }
  // It came to its end by itself.
  void survive(const std::string& source, const SandboxLimits& limits = {}) {
    const SandboxResult result = attack(source + "\nprint('the end')", limits);
    EXPECT_NE(result.output.find("the end\n"), std::string::npos)
        << sandbox_stop_name(result.stopped) << result.output << result.errors;
  }
  SandboxStop stopped(const std::string& source, const SandboxLimits& limits = {}) {
    const SandboxResult result = attack(source, limits);
    EXPECT_FALSE(result.exit_status.has_value());
    return result.stopped;
  }
  const TemporaryFolder folder_;
};

constexpr SandboxLimits kShort{.wall_seconds = 2};

TEST_F(Escape, FilesOfTheMachineAreNotThere) {
  write_file(folder_.path() / "secret", "the secret");
  survive(
      "paths = ['/etc/passwd', '/etc/shadow', '/etc/hostname', '/root', '/home', '/var', '/run',"
      " '/sys', '/proc', '/proc/self/environ', '/proc/1/root/etc/passwd', '/boot', '/mnt',"
      " '/tmp/../etc/passwd', '/usr/../etc/passwd', '/program/../../etc/passwd', '" DURE_SOURCE_DIR
      "', '" DURE_SOURCE_DIR "/README.md', '" +
      (folder_.path() / "secret").string() + "']\n" + R"(
def read(path):
    if os.path.isdir(path): return os.listdir(path)
    return open(path, 'rb').read(100)
for path in paths:
    attempt(path, lambda: read(path))
    link = '/tmp/link'
    if os.path.lexists(link): os.unlink(link)
    os.symlink(path, link)
    attempt('by link ' + path, lambda: read(link))
root = os.open('/', os.O_RDONLY)
attempt('openat ..', lambda: os.open('../../../etc/passwd', os.O_RDONLY, dir_fd=root))
attempt('chroot', lambda: os.chroot('/tmp'))
)");
}

TEST_F(Escape, NothingIsWrittenOutside) {
  const Path target = folder_.path() / "kept";
  write_file(target, "as it was");
  survive("target = '" + target.string() + "'" + R"(
for path in ['/x', '/usr/x', '/usr/bin/python3', '/usr/lib/x', '/program/main.py', '/program/x',
             '/dev/x', '/etc/x', '/etc/ld.so.cache', '/bin/x', '/root/x', target]:
    attempt(path, lambda: open(path, 'ab').write(b'x'))
attempt('rename', lambda: os.rename('/usr/bin/env', '/usr/bin/env2'))
attempt('unlink', lambda: os.unlink('/usr/bin/env'))
attempt('chmod', lambda: os.chmod('/usr/bin/env', 0o777))
attempt('chown', lambda: os.chown('/tmp', 0, 0))
attempt('hard link', lambda: os.link('/usr/bin/env', '/tmp/env'))
attempt('utime', lambda: os.utime('/usr/bin/env', (1, 1)))
attempt('xattr', lambda: os.setxattr('/usr/bin/env', 'user.x', b'1'))
attempt('node', lambda: os.mknod('/tmp/disk', 0o60666, os.makedev(254, 0)))
attempt('rmdir', lambda: os.rmdir('/usr/local'))
)");
  EXPECT_EQ(read_file(target), "as it was");
}

// Listening sockets of this machine, which must hear of nobody.
class Listener {
 public:
  explicit Listener(int family, const sockaddr* address, socklen_t size)
      : socket_(::socket(family, SOCK_STREAM | SOCK_NONBLOCK, 0)) {
    EXPECT_EQ(::bind(socket_, address, size), 0);
    EXPECT_EQ(::listen(socket_, 8), 0);
  }
  ~Listener() {
    EXPECT_LT(::accept(socket_, nullptr, nullptr), 0);
    ::close(socket_);
  }
  int port() const {
    sockaddr_in address{};
    socklen_t size = sizeof(address);
    ::getsockname(socket_, reinterpret_cast<sockaddr*>(&address), &size);
    return ntohs(address.sin_port);
  }

 private:
  int socket_;
};

sockaddr_un unix_address(const std::string& name) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  name.copy(address.sun_path, sizeof(address.sun_path) - 1);
  return address;
}

TEST_F(Escape, ThereIsNoNetwork) {
  sockaddr_in loopback{};
  loopback.sin_family = AF_INET;
  loopback.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const Listener tcp(AF_INET, reinterpret_cast<sockaddr*>(&loopback), sizeof(loopback));
  const std::string path = (folder_.path() / "socket").string();
  const sockaddr_un named = unix_address(path);
  const Listener file(AF_UNIX, reinterpret_cast<const sockaddr*>(&named), sizeof(named));
  const std::string name = new_token();
  sockaddr_un hidden = unix_address("@" + name);
  hidden.sun_path[0] = '\0';
  const auto hidden_size =
      static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size());
  const Listener abstract(AF_UNIX, reinterpret_cast<const sockaddr*>(&hidden), hidden_size);
  survive("port = " + std::to_string(tcp.port()) + "; path = '" + path + "'; name = '" + name +
          "'" + R"(
def connect(family, kind, address):
    s = socket.socket(family, kind)
    s.connect(address)
    s.send(b'x')
attempt('tcp', lambda: connect(socket.AF_INET, socket.SOCK_STREAM, ('127.0.0.1', port)))
attempt('tcp outside', lambda: connect(socket.AF_INET, socket.SOCK_STREAM, ('1.1.1.1', 80)))
attempt('tcp6', lambda: connect(socket.AF_INET6, socket.SOCK_STREAM, ('::1', port)))
attempt('udp', lambda: connect(socket.AF_INET, socket.SOCK_DGRAM, ('8.8.8.8', 53)))
attempt('raw', lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 1))
attempt('netlink', lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0))
attempt('packet', lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0))
attempt('vsock', lambda: socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM, 0))
attempt('alg', lambda: socket.socket(socket.AF_ALG, socket.SOCK_SEQPACKET, 0))
attempt('names', lambda: socket.getaddrinfo('example.com', 80))
attempt('unix', lambda: connect(socket.AF_UNIX, socket.SOCK_STREAM, path))
attempt('abstract', lambda: connect(socket.AF_UNIX, socket.SOCK_STREAM, '\0' + name))
a, b = socket.socketpair()
a.send(b'pairs work')
assert b.recv(20) == b'pairs work'
)");
}

TEST_F(Escape, SecretsOfTheEnvironmentStayOutside) {
  ::setenv("DURE_ESCAPE_SECRET", "the secret", 1);
  survive(R"(
assert set(os.environ) == {'PATH', 'HOME', 'LANG', 'PWD'}, os.environ
for process in ['self', '1', '2', str(os.getppid())]:
    for file in ['environ', 'mem', 'maps', 'cmdline', 'fd']:
        attempt(process + file, lambda: open('/proc/%s/%s' % (process, file), 'rb').read(1))
for fd in range(3, 64):
    attempt('descriptor %d' % fd, lambda: os.fstat(fd).st_mode)
)");
  ::unsetenv("DURE_ESCAPE_SECRET");
}

TEST_F(Escape, ForkBombs) {
  survive(R"(
count = 0
try:
    while count < 1000:
        if os.fork() == 0:
            time.sleep(60)
            os._exit(0)
        count += 1
except OSError as e:
    print('held after', count, e)
if count > 15: print('LEAK', count)
)");
  const SandboxLimits limits{.wall_seconds = 3};
  const SandboxResult result = attack(R"(
while True:
    try: os.fork()
    except OSError: pass
)",
                                      limits);
  EXPECT_TRUE(result.timed_out());
  // A shell's, and threads.
  attack("subprocess.run(['/bin/sh', '-c', ':(){ :|:& };:'])\ntime.sleep(60)", kShort);
  survive(R"(
count = 0
try:
    while count < 1000:
        threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
        count += 1
except RuntimeError as e:
    print('held after', count, e)
if count > 15: print('LEAK', count)
sys.stdout.flush()
print('the end', flush=True)
os._exit(0)
)");
}

TEST_F(Escape, ZombieStorms) {
  survive(R"(
start = time.time()
made = 0
while time.time() - start < 1:
    try:
        if os.fork() == 0: os._exit(0)
        made += 1
    except OSError:
        time.sleep(0.01)
print('made', made)
if made > 15: print('LEAK', made)
)");
  // Grandchildren are waited for by the namespace's first process.
  survive(R"(
for i in range(50):
    child = os.fork()
    if child == 0:
        if os.fork() == 0: os._exit(0)
        os._exit(0)
    os.waitpid(child, 0)
)");
}

TEST_F(Escape, MemoryBombs) {
  const SandboxLimits limits{.wall_seconds = 20, .memory_bytes_max = 256 << 20};
  survive("attempt('one', lambda: len(bytearray(1 << 30)))", limits);
  const SandboxResult list = attack("x = []\nwhile True: x.append(bytearray(1 << 20))", limits);
  EXPECT_TRUE(list.stopped == SandboxStop::kMemory || list.exit_status == 1) << list.errors;
  // Each within its own limit, all together far beyond.
  EXPECT_EQ(stopped(R"(
for i in range(10):
    if os.fork() == 0: break
x = bytearray(os.urandom(1 << 20)) * 100
time.sleep(60)
)",
                    limits),
            SandboxStop::kMemory);
  survive(R"(
import mmap
attempt('shared', lambda: len(mmap.mmap(-1, 1 << 30).write(b'x')))
attempt('memfd', lambda: os.memfd_create('x'))
)",
          limits);
}

// What forked processes share is counted once.
TEST_F(Escape, SharedMemoryIsNoBomb) {
  const SandboxLimits limits{.wall_seconds = 20, .memory_bytes_max = 256 << 20};
  survive(R"(
x = bytearray(os.urandom(1 << 20)) * 80
children = []
for i in range(8):
    child = os.fork()
    if child == 0:
        time.sleep(0.5)
        os._exit(0)
    children.append(child)
for child in children: os.waitpid(child, 0)
)",
          limits);
}

TEST_F(Escape, DiskBombs) {
  const SandboxLimits limits{.wall_seconds = 20, .tmp_bytes_max = 8 << 20, .tmp_files_max = 1000};
  survive(R"(
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
def fill(path):
    with open(path, 'wb', buffering=0) as f:
        total = 0
        while total < 1 << 30: total += f.write(bytes(1 << 20))
attempt('fill', lambda: fill('/tmp/a'))
attempt('fill more', lambda: fill('/tmp/b'))
attempt('shm', lambda: fill('/dev/shm/c'))
assert sum(os.stat('/tmp/' + f).st_blocks * 512 for f in os.listdir('/tmp')) <= 8 << 20
def sparse():
    with open('/tmp/sparse', 'wb') as f: f.truncate(1 << 50)
attempt('sparse', sparse)
)",
          limits);
  EXPECT_EQ(stopped(R"(
i = 0
while True:
    os.close(os.open('/tmp/%d' % i, os.O_CREAT | os.O_WRONLY))
    i += 1
)",
                    limits),
            SandboxStop::kFiles);
  EXPECT_EQ(stopped(R"(
while True:
    os.mkdir('d')
    os.chdir('d')
)",
                    limits),
            SandboxStop::kFiles);
}

TEST_F(Escape, EndlessOutput) {
  EXPECT_EQ(stopped("while True: print('x' * 1000)"), SandboxStop::kOutput);
  EXPECT_EQ(stopped("while True: sys.stderr.write('x' * 1000)"), SandboxStop::kOutput);
  EXPECT_EQ(stopped(R"(
if os.fork() == 0:
    while True: os.write(2, b'x' * 65536)
while True: os.write(1, b'x' * 65536)
)"),
            SandboxStop::kOutput);
  const SandboxResult result = attack("sys.stderr.write('x' * 100000); print('y' * 100000)");
  EXPECT_EQ(result.errors.size(), 100'000u);
  EXPECT_EQ(result.output.size(), 100'001u);
}

TEST_F(Escape, NeverEnding) {
  EXPECT_EQ(stopped("while True: pass", {.wall_seconds = 20, .cpu_seconds = 1}),
            SandboxStop::kCpuTime);
  EXPECT_EQ(stopped("while True: pass", {.wall_seconds = 1}), SandboxStop::kWallTime);
  EXPECT_EQ(stopped("time.sleep(100)", {.wall_seconds = 1}), SandboxStop::kWallTime);
  EXPECT_EQ(stopped("sys.stdin.close(); signal.pause()", {.wall_seconds = 1}),
            SandboxStop::kWallTime);
  EXPECT_EQ(stopped(R"(
for i in range(1, 65):
    try: signal.signal(i, signal.SIG_IGN)
    except (OSError, ValueError): pass
while True:
    try: time.sleep(100)
    except BaseException: pass
)",
                    {.wall_seconds = 1}),
            SandboxStop::kWallTime);
  EXPECT_EQ(stopped("os.kill(os.getpid(), signal.SIGSTOP)", {.wall_seconds = 1}),
            SandboxStop::kWallTime);
  EXPECT_EQ(stopped("os.kill(0, signal.SIGSTOP)", {.wall_seconds = 1}), SandboxStop::kWallTime);
  EXPECT_EQ(stopped("os.fork(); os.kill(-1, signal.SIGSTOP); os.kill(0, signal.SIGSTOP)",
                    {.wall_seconds = 1}),
            SandboxStop::kWallTime);
  // Processor time of all processes together.
  EXPECT_EQ(stopped("for i in range(3): os.fork()\nwhile True: pass",
                    {.wall_seconds = 20, .cpu_seconds = 1}),
            SandboxStop::kCpuTime);
}

TEST_F(Escape, NobodyStaysBehind) {
  const SandboxResult daemon = attack(R"(
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.chdir('/')
        for fd in range(64):
            try: os.close(fd)
            except OSError: pass
        time.sleep(600)
    os._exit(0)
time.sleep(0.2)
print('gone')
)");
  EXPECT_EQ(daemon.exit_status, 0);
  EXPECT_LT(daemon.wall_seconds, 5);
  // One that holds the outputs open does not hold us up either.
  const SandboxResult holder = attack("if os.fork() == 0: time.sleep(600)\n");
  EXPECT_EQ(holder.exit_status, 0);
  EXPECT_LT(holder.wall_seconds, 5);
  const SandboxResult closer = attack("for fd in (0, 1, 2): os.close(fd)\ntime.sleep(0.2)\n");
  EXPECT_EQ(closer.exit_status, 0);
}

TEST_F(Escape, OtherProcessesAreOutOfReach) {
  survive("ours = " + std::to_string(::getpid()) + R"(
assert os.getpid() == 2 and os.getppid() == 1
attempt('ours', lambda: os.kill(ours, 0))
for number in range(3, 200):
    attempt('process %d' % number, lambda: os.kill(number, 0))
os.kill(1, signal.SIGKILL)
os.kill(1, signal.SIGTERM)
attempt('priority', lambda: os.setpriority(os.PRIO_PROCESS, ours, 5))
attempt('limits', lambda: resource.prlimit(1, resource.RLIMIT_NPROC, (100000, 100000)))
)");
  EXPECT_EQ(::kill(::getpid(), 0), 0);
}

TEST_F(Escape, LimitsAreNotRaised) {
  survive(R"(
for name in ['RLIMIT_AS', 'RLIMIT_NPROC', 'RLIMIT_CPU', 'RLIMIT_FSIZE', 'RLIMIT_NOFILE',
             'RLIMIT_MEMLOCK', 'RLIMIT_STACK', 'RLIMIT_CORE']:
    kind = getattr(resource, name)
    attempt(name, lambda: resource.setrlimit(kind, (resource.RLIM_INFINITY,) * 2))
    hard = resource.getrlimit(kind)[1]
    attempt(name + ' by one', lambda: resource.setrlimit(kind, (hard + 1, hard + 1)))
attempt('root', lambda: os.setuid(0))
attempt('group root', lambda: os.setgid(0))
attempt('groups', lambda: os.setgroups([0]))
attempt('nice', lambda: os.nice(-5))
)");
}

// 31 is SIGSYS: the filter ends what speaks another architecture's calls.
TEST_F(Escape, SystemCalls) {
#ifdef __x86_64__
  survive(R"(
calls = dict(ptrace=101, mount=165, umount2=166, pivot_root=155, chroot=161, unshare=272, setns=308,
             keyctl=250, add_key=248, request_key=249, bpf=321, userfaultfd=323,
             perf_event_open=298, io_uring_setup=425, io_uring_enter=426, io_uring_register=427,
             process_vm_readv=310, process_vm_writev=311, kcmp=312, pidfd_getfd=438, clone3=435,
             memfd_create=319, memfd_secret=447, shmget=29, msgget=68, semget=64, mq_open=240,
             mlock=149, mlockall=151, vmsplice=278, personality=135, modify_ldt=154, iopl=172,
             ioperm=173, syslog=103, reboot=169, kexec_load=246, init_module=175,
             finit_module=313, swapon=167, acct=163, quotactl=179, sethostname=170,
             settimeofday=164, clock_settime=227, adjtimex=159, name_to_handle_at=303,
             open_by_handle_at=304, fanotify_init=300, fsopen=430, open_tree=428, move_mount=429,
             fsmount=432, fspick=433, mount_setattr=442, landlock_create_ruleset=444, seccomp=317,
             set_mempolicy=238, move_pages=279, migrate_pages=256, lookup_dcookie=212,
             nfsservctl=180, uselib=134, vhangup=153, unknown=600)
for name, number in calls.items():
    ctypes.set_errno(0)
    result = libc.syscall(ctypes.c_long(number), 0, 0, 0, 0, 0, 0)
    error = ctypes.get_errno()
    if result != -1 or error not in (errno.EPERM, errno.ENOSYS):
        print('LEAK', name, result, errno.errorcode.get(error))
for name, flag in dict(user=0x10000000, mount=0x20000, net=0x40000000, pid=0x20000000,
                       ipc=0x8000000, uts=0x4000000, cgroup=0x2000000).items():
    for number, where in ((56, 'clone'), (272, 'unshare')):
        result = libc.syscall(ctypes.c_long(number), ctypes.c_long(flag | 17), 0, 0, 0, 0)
        if result == 0: os._exit(0)
        if result != -1: print('LEAK', where, name)
for request in (0x5412, 0x541c, 0x1_0000_5412, 0x540E):
    if libc.syscall(ctypes.c_long(16), 0, ctypes.c_ulong(request), b'x') != -1: print('LEAK tty')
)");
  const std::string machine_code = R"(
import mmap
code = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
code.write(bytes.fromhex('CODE'))
address = ctypes.addressof(ctypes.c_char.from_buffer(code))
print('LEAK', ctypes.CFUNCTYPE(ctypes.c_int)(address)())
)";
  for (const char* code : {"b814000000cd80c3",      // mov eax, 20; int 0x80; ret: getpid of i386
                           "b827000040 0f05c3"}) {  // mov eax, 0x40000027; syscall; ret: of x32
    std::string source = machine_code;
    source.replace(source.find("CODE"), 4, code);
    EXPECT_EQ(attack(source).exit_status, 128 + SIGSYS) << code;
  }
#endif
}

TEST_F(Escape, OtherProgramsGainNothing) {
  survive(R"(
for command in (['/usr/bin/su', '-c', 'id'], ['/usr/bin/mount', '-t', 'tmpfs', 'x', '/tmp'],
                ['/usr/bin/unshare', '-Ur', 'id'], ['/usr/bin/nsenter', '-t', '1', '-a', 'id'],
                ['/usr/bin/bwrap', '--ro-bind', '/', '/', '/usr/bin/id'],
                ['/usr/bin/setpriv', '--reuid=0', '/usr/bin/id']):
    if not os.path.exists(command[0]): continue
    done = subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL)
    print('LEAK' if b'uid=0' in done.stdout else 'held', command, done.stdout, done.stderr[:80])
done = subprocess.run(['/usr/bin/id', '-u'], capture_output=True)
assert done.stdout == b'1000\n', done
)");
}

TEST_F(Escape, DescriptorsRunOut) {
  survive(R"(
files = []
try:
    while len(files) < 1000: files.append(os.open('/dev/null', os.O_RDONLY))
except OSError as e:
    print('held', e)
if len(files) > 64: print('LEAK', len(files))
for file in files: os.close(file)
)");
}

TEST_F(Escape, EndsAreToldApart) {
  EXPECT_EQ(attack("sys.exit(7)").exit_status, 7);
  EXPECT_EQ(attack("os.kill(os.getpid(), signal.SIGKILL)").exit_status, 128 + SIGKILL);
  EXPECT_EQ(attack("os.abort()").exit_status, 128 + SIGABRT);
  EXPECT_EQ(attack("ctypes.string_at(0)").exit_status, 128 + SIGSEGV);
  EXPECT_EQ(attack("raise SystemExit(0)").exit_status, 0);
  const SandboxResult deep =
      attack("sys.setrecursionlimit(10**9)\ndef f(n): return f(n + 1) + 1\nf(0)",
             {.wall_seconds = 30, .memory_bytes_max = 128 << 20});
  EXPECT_NE(deep.exit_status, 0);
}

// Nothing is left to wait for, and the time is the whole time.
TEST_F(Escape, NoZombiesOfOurs) {
  const SandboxResult result = attack("x = 0\nwhile time.process_time() < 0.5: x += 1");
  EXPECT_GE(result.cpu_seconds, 0.5);
  EXPECT_LT(result.cpu_seconds, 1.5);
  EXPECT_EQ(::waitpid(-1, nullptr, WNOHANG), -1);
  EXPECT_EQ(errno, ECHILD);
}

// Many at the same time see nothing of each other.
TEST_F(Escape, ManyAtOnce) {
  std::vector<std::thread> threads;
  std::atomic<int> right = 0;
  for (int i = 0; i < 6; ++i) {
    threads.emplace_back([&, i] {
      const std::string name = std::to_string(i);
      for (int j = 0; j < 3; ++j) {
        SandboxedProgram program =
            python("import os\nopen('/tmp/" + name + "','w').close()\nprint(input(), os.listdir())",
                   new_token());
        program.input = name;
        const SandboxResult result = run_sandboxed(program);
        right += result.output == name + " ['" + name + "']\n" ? 1 : 0;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(right, 18);
}

// Whoever runs it may be killed, at any moment: it goes too, or never begins. (bubblewrap's inner
// process, if its parent dies between making it and writing its user's map, waits for the map for
// ever: nothing of the program has begun then, and the next run is not the worse for it.)
TEST_F(Escape, GoesWithItsMaster) {
  int seen = 0, never_begun = 0;
  for (int delay_ms = 0; delay_ms < 60; delay_ms += 2) {
    const std::string token = new_token();
    const pid_t master = ::fork();
    if (master == 0) {
      run_sandboxed(python("import time\ntime.sleep(600)", token), {.wall_seconds = 600});
      ::_exit(0);
    }
    ::usleep(static_cast<useconds_t>(delay_ms * 1000));
    seen += processes_of(token) > 0 ? 1 : 0;
    ::kill(master, SIGKILL);
    ::waitpid(master, nullptr, 0);
    wait_until_none([&] { return processes_of(token); }, 50);
    wait_until_none([&] { return programs_of(token); }, 500);
    EXPECT_EQ(programs_of(token), 0) << "killed after " << delay_ms << " ms";
    never_begun += processes_of(token);
  }
  EXPECT_GT(seen, 5);
  EXPECT_LE(never_begun, 3);
}

TEST_F(Escape, WhatIsNotThere) {
  ErrorCode code{};
  const std::string message =
      message_of([] { run_sandboxed({.program = "/usr/bin/no-such-program"}); }, &code);
  EXPECT_EQ(code, ErrorCode::kNotFound);
  EXPECT_NE(message.find("/usr/bin/no-such-program"), std::string::npos);
  EXPECT_EQ(message_of([] { run_sandboxed({.program = "/bin/../tmp/x"}); }, &code).empty(), false);
  EXPECT_EQ(code, ErrorCode::kNotFound);
}

}  // namespace
}  // namespace dure
