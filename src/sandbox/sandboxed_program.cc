// Starts bubblewrap, reads what comes out, watches what is used, and ends the namespace's first
// process: with it the kernel ends all others, before that one counts as gone.
#include "sandbox/sandboxed_program.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cerrno>
#include <chrono>
#include <cmath>
#include <sstream>

#include "base/check.h"
#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "sandbox/bubblewrap.h"
#include "sandbox/descriptors.h"
#include "sandbox/process_tree.h"
#include "sandbox/system_calls.h"

namespace dure {
namespace {

using Clock = std::chrono::steady_clock;

// The watch's first pauses are short, so that short programs' times are seen.
constexpr int kFirstTickMs = 2, kLastTickMs = 20;
// The kernel frees memory and reaps processes; nothing that the program does can hold it up.
constexpr int kEndMsMax = 20'000;

// By number: glibc 2.36's header of these lacks extern "C".
Descriptor process_handle(pid_t process) {
  return Descriptor(static_cast<int>(::syscall(SYS_pidfd_open, process, 0)));
}
void kill_by_handle(const Descriptor& handle) {
  ::syscall(SYS_pidfd_send_signal, handle.number(), SIGKILL, nullptr, 0);
}

// A namespace's first process outlives bubblewrap by a moment: its end is ours to wait for. Where
// nobody did (a container whose first program waits for nothing), they would pile up.
void adopt_orphans() {
  static const int done = ::prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
  (void)done;
}

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

bool is_file_name(const std::string& name) {
  return !name.empty() && name[0] != '.' &&
         std::all_of(name.begin(), name.end(), [](unsigned char c) {
           return std::isalnum(c) != 0 || c == '.' || c == '_' || c == '-';
         });
}

void check_request(const SandboxedProgram& program, const SandboxLimits& limits) {
  for (const SandboxFile& file : program.files)
    DURE_CHECK(is_file_name(file.name), "{}", file.name);
  DURE_CHECK(limits.wall_seconds > 0 && limits.cpu_seconds > 0);
  DURE_CHECK(limits.memory_bytes_max > 0 && limits.processes_max > 0 && limits.tmp_bytes_max > 0);
  if (!program.program.starts_with("/usr/") || !path_exists(program.program)) {
    fail(ErrorCode::kNotFound,
         "{}: there is no such program under /usr, which is all that a "
         "sandbox shows of this machine",
         program.program);
  }
}

// What the child is given as 0, 1, 2, ..., and nothing else.
class SpawnFiles {
 public:
  SpawnFiles() { ::posix_spawn_file_actions_init(&actions_); }
  ~SpawnFiles() { ::posix_spawn_file_actions_destroy(&actions_); }
  SpawnFiles(const SpawnFiles&) = delete;
  SpawnFiles& operator=(const SpawnFiles&) = delete;
  void give(const Descriptor& descriptor) {
    // Above all numbers that are given, so that none is overwritten before its turn.
    kept_.push_back(raised(descriptor, 256));
    ::posix_spawn_file_actions_adddup2(&actions_, kept_.back().number(), next_);
    ++next_;
  }
  const posix_spawn_file_actions_t* done() {
    ::posix_spawn_file_actions_addclosefrom_np(&actions_, next_);
    return &actions_;
  }

 private:
  posix_spawn_file_actions_t actions_;
  std::vector<Descriptor> kept_;
  int next_ = 0;
};

// Signals as a fresh program has them, in a process group of its own: a terminal's Ctrl-C is ours.
class SpawnAttributes {
 public:
  SpawnAttributes() {
    ::posix_spawnattr_init(&attributes_);
    sigset_t none, all;
    ::sigemptyset(&none);
    ::sigfillset(&all);
    ::posix_spawnattr_setsigmask(&attributes_, &none);
    ::posix_spawnattr_setsigdefault(&attributes_, &all);
    ::posix_spawnattr_setflags(
        &attributes_, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
  }
  ~SpawnAttributes() { ::posix_spawnattr_destroy(&attributes_); }
  SpawnAttributes(const SpawnAttributes&) = delete;
  SpawnAttributes& operator=(const SpawnAttributes&) = delete;
  const posix_spawnattr_t* get() const { return &attributes_; }

 private:
  posix_spawnattr_t attributes_;
};

pid_t spawn(std::vector<std::string> command, SpawnFiles& files) {
  std::vector<char*> arguments;
  for (std::string& word : command) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  char* no_environment[] = {nullptr};
  const SpawnAttributes attributes;
  pid_t child = 0;
  const int error = ::posix_spawn(&child, arguments[0], files.done(), attributes.get(),
                                  arguments.data(), no_environment);
  if (error != 0) {
    errno = error;
    fail_errno("sandbox: cannot start " + command[0]);
  }
  return child;
}

class Run {
 public:
  Run(const SandboxedProgram& program, const SandboxLimits& limits) : limits_(limits) {
    start(program);
  }
  // Also on errors, nothing is left.
  ~Run() { end_all(); }

  SandboxResult finish() {
    while (!ended_) wait_for_news();
    end_all();
    while (take_output(output_, result_.output) || take_output(errors_, result_.errors)) {
    }
    take_status();
    result_.wall_seconds = seconds_since(begin_);
    if (result_.stopped == SandboxStop::kNone) result_.exit_status = exit_status();
    return std::move(result_);
  }

 private:
  void start(const SandboxedProgram& program);
  void wait_for_news();
  void watch();
  bool take_output(Descriptor& from, std::string& to);
  void take_status();
  void note_first_process(pid_t process);
  void take_ready();
  void let_begin();
  int exit_status() const;
  void stop(SandboxStop why);
  void end_all();
  void take_first();
  int tick_ms() const;
  bool too_many_files();

  const SandboxLimits limits_;
  const Clock::time_point begin_ = Clock::now();
  SandboxResult result_;
  Descriptor output_, errors_, status_, ready_;  // ours to read
  Pipe gate_;        // lets the program begin; its reading end is kept so that writing never fails
  pid_t outer_ = 0;  // bubblewrap, our child; 0 once waited for
  int outer_status_ = 0;
  Descriptor outer_handle_;
  pid_t first_ = 0;  // the namespace's first process: the child of outer_ that all others come from
  Descriptor first_handle_, tmp_;
  std::string status_text_;
  Clock::time_point watched_ = begin_;
  int ticks_ = 0;
  bool ended_ = false;
};

void Run::start(const SandboxedProgram& program) {
  adopt_orphans();
  const Descriptor input = memory_file(program.input), filter = memory_file(system_call_filter());
  Pipe output = make_pipe(), errors = make_pipe(), status = make_pipe(), ready = make_pipe();
  gate_ = make_pipe();
  SpawnFiles files;
  for (const Descriptor* given : std::initializer_list<const Descriptor*>{
           &input, &output.write, &errors.write, &filter, &status.write, &gate_.read, &status.read,
           &ready.write})
    files.give(*given);
  for (const SandboxFile& file : program.files) files.give(memory_file(file.content));
  outer_ = spawn(sandbox_command(program, limits_), files);
  outer_handle_ = process_handle(outer_);
  if (!outer_handle_.open()) fail_errno("sandbox: cannot watch it");
  output_ = std::move(output.read);
  errors_ = std::move(errors.read);
  status_ = std::move(status.read);
  ready_ = std::move(ready.read);
  for (const Descriptor* ours : {&output_, &errors_, &status_, &ready_}) do_not_wait(*ours);
}

// As much as is there; true where something was, or may still be.
bool Run::take_output(Descriptor& from, std::string& to) {
  if (!from.open()) return false;
  std::array<char, 1 << 16> buffer;
  const ssize_t count = ::read(from.number(), buffer.data(), buffer.size());
  if (count < 0 && errno == EINTR) return true;
  if (count == 0) from.reset();
  if (count <= 0) return false;
  const auto room = static_cast<size_t>(limits_.output_bytes_max) - to.size();
  to.append(buffer.data(), std::min(room, static_cast<size_t>(count)));
  if (static_cast<size_t>(count) > room) stop(SandboxStop::kOutput);
  return true;
}

// Lines of JSON: {"child-pid": N, ...}, and {"exit-code": N} where the program itself was reached.
void Run::take_status() {
  if (!status_.open()) return;
  std::array<char, 4096> buffer;
  const ssize_t count = ::read(status_.number(), buffer.data(), buffer.size());
  if (count == 0) status_.reset();
  if (count <= 0) return;
  status_text_.append(buffer.data(), static_cast<size_t>(count));
  if (first_ != 0) return watch();  // its end: the last moment to look
  const size_t end = status_text_.find('\n');
  if (end == std::string::npos) return;
  const Json line = parse_json(status_text_.substr(0, end), "bwrap's status");
  note_first_process(static_cast<pid_t>(line.at("child-pid").as_int()));
}

// The number is held by a handle from now on; where it is already someone else's, it is not ours.
void Run::note_first_process(pid_t process) {
  first_handle_ = process_handle(process);
  const std::string stat = "/proc/" + std::to_string(process) + "/stat";
  std::error_code gone;
  if (!first_handle_.open() || !std::filesystem::exists(stat, gone)) return first_handle_.reset();
  first_ = process;
  let_begin();
}

void Run::take_ready() {
  char line;
  if (!ready_.open() || (::read(ready_.number(), &line, 1) < 0 && errno == EAGAIN)) return;
  ready_.reset();
  let_begin();
}

// When the program is ready, and known.
void Run::let_begin() {
  if (ready_.open() || first_ == 0 || !gate_.write.open()) return;
  if (::write(gate_.write.number(), "\n", 1) != 1) fail_errno("sandbox: cannot let it begin");
  gate_ = {};
}

int Run::tick_ms() const { return std::min(kFirstTickMs << std::min(ticks_, 8), kLastTickMs); }

void Run::wait_for_news() {
  std::array<pollfd, 5> news = {
      pollfd{output_.number(), POLLIN, 0}, pollfd{errors_.number(), POLLIN, 0},
      pollfd{status_.number(), POLLIN, 0}, pollfd{outer_handle_.number(), POLLIN, 0},
      pollfd{ready_.number(), POLLIN, 0}};
  const double left = limits_.wall_seconds - seconds_since(begin_);
  const int pause = std::clamp(static_cast<int>(std::ceil(left * 1000)), 0, tick_ms());
  ::poll(news.data(), news.size(), pause);
  if (news[2].revents != 0) take_status();
  if (news[4].revents != 0) take_ready();
  take_output(output_, result_.output);
  take_output(errors_, result_.errors);
  if (news[3].revents != 0) ended_ = true;
  if (ended_) return;
  if (seconds_since(begin_) >= limits_.wall_seconds) return stop(SandboxStop::kWallTime);
  if (seconds_since(watched_) * 1000 >= tick_ms()) watch();
}

// The program's /tmp, known by its size: until bubblewrap has come so far, the first process sees
// other folders under that name, this machine's own among them.
bool Run::too_many_files() {
  struct statfs facts;
  if (!tmp_.open()) {
    const std::string tmp = "/proc/" + std::to_string(first_) + "/root/tmp";
    Descriptor folder(::open(tmp.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    if (!folder.open() || ::fstatfs(folder.number(), &facts) != 0) return false;
    const int64_t size = static_cast<int64_t>(facts.f_blocks) * facts.f_bsize;
    const bool rounded =
        size >= limits_.tmp_bytes_max && size - limits_.tmp_bytes_max < facts.f_bsize;
    if (facts.f_type != TMPFS_MAGIC || !rounded) return false;
    tmp_ = std::move(folder);
  }
  if (::fstatfs(tmp_.number(), &facts) != 0) return false;
  return static_cast<int64_t>(facts.f_files - facts.f_ffree) > limits_.tmp_files_max;
}

void Run::watch() {
  ++ticks_;
  watched_ = Clock::now();
  if (first_ == 0) return;
  const ProcessTreeUse use = process_tree_use(first_);
  result_.cpu_seconds = std::max(result_.cpu_seconds, use.cpu_seconds);
  if (use.cpu_seconds > limits_.cpu_seconds) return stop(SandboxStop::kCpuTime);
  if (too_many_files()) return stop(SandboxStop::kFiles);
  if (use.private_bytes > limits_.memory_bytes_max &&
      process_tree_resident_bytes(first_) > limits_.memory_bytes_max)
    return stop(SandboxStop::kMemory);
}

// The first reason counts, also where it is found after the end: in what was still to be read.
void Run::stop(SandboxStop why) {
  if (result_.stopped == SandboxStop::kNone) result_.stopped = why;
  ended_ = true;
}

// Where the first process was never heard of, it dies with bubblewrap, its parent.
void Run::end_all() {
  tmp_.reset();
  if (outer_ == 0) return;
  if (first_handle_.open()) kill_by_handle(first_handle_);
  ::kill(outer_, SIGKILL);  // not waited for yet, so the number is still its own
  if (first_handle_.open()) {
    pollfd gone{first_handle_.number(), POLLIN, 0};
    while (::poll(&gone, 1, kEndMsMax) < 0 && errno == EINTR) {
    }
  }
  while (::waitpid(outer_, &outer_status_, 0) < 0 && errno == EINTR) {
  }
  outer_ = 0;
  if (first_handle_.open()) take_first();
}

// An orphan by now, and so our child (adopt_orphans()), unless bubblewrap was quick enough. It has
// waited for the program: its time is the whole time.
void Run::take_first() {
  siginfo_t end{};
  rusage use{};
  const long taken =
      ::syscall(SYS_waitid, P_PIDFD, first_handle_.number(), &end, WEXITED | WNOHANG, &use);
  if (taken != 0 || end.si_pid == 0) return;
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) * 1e-6;
  };
  result_.cpu_seconds =
      std::max(result_.cpu_seconds, seconds(use.ru_utime) + seconds(use.ru_stime));
}

// Bubblewrap says the code where it had come as far as the program; else its complaint is all that
// there is.
int Run::exit_status() const {
  std::istringstream lines(status_text_);
  for (std::string line; std::getline(lines, line);) {
    const Json said = parse_json(line, "bwrap's status");
    if (const Json* code = said.find("exit-code")) return static_cast<int>(code->as_int());
  }
  const std::string complaint = result_.errors.substr(0, result_.errors.find('\n'));
  fail(ErrorCode::kIo, "sandbox: cannot be made: {}",
       complaint.empty() ? fmt::format("bubblewrap ended with status {:#x}", outer_status_)
                         : complaint);
}

}  // namespace

SandboxResult run_sandboxed(const SandboxedProgram& program, const SandboxLimits& limits) {
  check_request(program, limits);
  if (const auto& missing = sandbox_missing()) fail(ErrorCode::kUnsupported, "{}", *missing);
  return Run(program, limits).finish();
}

const std::optional<std::string>& sandbox_missing() {
  static const std::optional<std::string> missing = []() -> std::optional<std::string> {
    if (auto program = missing_program()) return "no sandbox for programs: " + *program;
    try {
      Run({.program = "/usr/bin/true"}, {}).finish();
      return std::nullopt;
    } catch (const Error& error) {
      return std::string("no sandbox for programs: ") + error.what() +
             "; users must be allowed namespaces of their own (sysctl user.max_user_namespaces, "
             "kernel.unprivileged_userns_clone, kernel.apparmor_restrict_unprivileged_userns; in "
             "a container: its seccomp profile)";
    }
  }();
  return missing;
}

const char* sandbox_stop_name(SandboxStop stop) {
  switch (stop) {
    case SandboxStop::kNone:
      return "";
    case SandboxStop::kWallTime:
      return "its time was over";
    case SandboxStop::kCpuTime:
      return "its processor time was over";
    case SandboxStop::kMemory:
      return "it took more memory than it may";
    case SandboxStop::kOutput:
      return "it wrote more than it may";
    case SandboxStop::kFiles:
      return "it made more files than it may";
  }
  return "";
}

}  // namespace dure
