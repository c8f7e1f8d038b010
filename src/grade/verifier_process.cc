// posix_spawn, three pipes that do not wait, and poll() with a deadline.
#include "grade/verifier_process.h"

#include <poll.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <fstream>
#include <thread>

#include "base/error.h"
#include "base/interrupt.h"
#include "base/log.h"
#include "sandbox/group_guard.h"

extern char** environ;

namespace dure {
namespace {

using std::chrono::milliseconds;

// While it lives, writing to a pipe that nobody reads is an error and no signal.
class WithoutSigpipe {
 public:
  WithoutSigpipe() {
    ::sigemptyset(&pipe_);
    ::sigaddset(&pipe_, SIGPIPE);
    ::pthread_sigmask(SIG_BLOCK, &pipe_, &before_);
  }
  ~WithoutSigpipe() {
    const timespec now{};
    if (::sigismember(&before_, SIGPIPE) == 0) {
      while (::sigtimedwait(&pipe_, nullptr, &now) >= 0) {
      }
    }
    ::pthread_sigmask(SIG_SETMASK, &before_, nullptr);
  }

 private:
  sigset_t pipe_, before_;
};

// argv or envp of texts that outlive it.
std::vector<char*> pointers(const std::vector<std::string>& texts) {
  std::vector<char*> out;
  for (const std::string& text : texts) out.push_back(const_cast<char*>(text.c_str()));
  out.push_back(nullptr);
  return out;
}

std::vector<std::string> environment() {
  std::vector<std::string> out;
  for (char** one = environ; *one != nullptr; ++one) out.emplace_back(*one);
  if (::getenv("PYTHONUNBUFFERED") == nullptr) out.emplace_back("PYTHONUNBUFFERED=1");
  return out;
}

// The ends of the pipes that a process gets as its three standard files.
struct ChildEnds {
  int input, output, errors;
};

int spawn(const std::vector<std::string>& command, const ChildEnds& ends, pid_t& process) {
  posix_spawn_file_actions_t files;
  posix_spawnattr_t attributes;
  ::posix_spawn_file_actions_init(&files);
  ::posix_spawnattr_init(&attributes);
  ::posix_spawn_file_actions_adddup2(&files, ends.input, STDIN_FILENO);
  ::posix_spawn_file_actions_adddup2(&files, ends.output, STDOUT_FILENO);
  ::posix_spawn_file_actions_adddup2(&files, ends.errors, STDERR_FILENO);
  ::posix_spawn_file_actions_addclosefrom_np(&files, STDERR_FILENO + 1);
  sigset_t none, all;
  ::sigemptyset(&none);
  ::sigfillset(&all);
  ::posix_spawnattr_setsigmask(&attributes, &none);
  ::posix_spawnattr_setsigdefault(&attributes, &all);
  ::posix_spawnattr_setpgroup(&attributes, 0);
  ::posix_spawnattr_setflags(
      &attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  const std::vector<std::string> variables = environment();
  const int error = ::posix_spawnp(&process, command[0].c_str(), &files, &attributes,
                                   pointers(command).data(), pointers(variables).data());
  ::posix_spawnattr_destroy(&attributes);
  ::posix_spawn_file_actions_destroy(&files);
  return error;
}

bool would_wait() { return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR; }

int wait_ms(VerifierProcess::Clock::time_point deadline) {
  const auto left =
      std::chrono::duration_cast<milliseconds>(deadline - VerifierProcess::Clock::now());
  return static_cast<int>(std::clamp<int64_t>(left.count() + 1, 0, 100));
}

constexpr size_t kErrorsKept = 1000, kErrorLines = 3, kErrorLineBytes = 200;

// The last lines of what was said, in one; signs that are none of text become blanks.
std::string last_lines(std::string_view text) {
  std::vector<std::string> lines;
  while (!text.empty() && lines.size() < kErrorLines) {
    while (text.ends_with('\n')) text.remove_suffix(1);
    const size_t begin = text.rfind('\n');
    std::string line(begin == std::string_view::npos ? text : text.substr(begin + 1));
    text = begin == std::string_view::npos ? std::string_view() : text.substr(0, begin);
    for (char& c : line)
      if (static_cast<unsigned char>(c) < 32) c = ' ';
    line.erase(0, line.find_first_not_of(' '));
    if (!line.empty()) lines.push_back(line.substr(0, kErrorLineBytes));
  }
  std::string out;
  for (size_t i = lines.size(); i-- > 0;) out += (out.empty() ? "" : " | ") + lines[i];
  return out;
}

using Waits = VerifierProcess::Waits;

// Of one thread. Source: proc(5), /proc/PID/syscall: "running", or the number of the system call
// and its arguments.
Waits thread_waits(const std::string& folder) {
  std::ifstream file(folder + "/syscall");
  std::string call, first;
  if (!(file >> call)) return Waits::kUnknown;
  file >> first;
  const long number = std::atol(call.c_str());
  if (call == "running") return Waits::kNo;
  if (number == SYS_read || number == SYS_readv || number == SYS_recvfrom)
    return first == "0x0" ? Waits::kYes : Waits::kNo;
  for (const long several : {long{SYS_ppoll}, long{SYS_pselect6}, long{SYS_epoll_pwait},
#ifdef SYS_poll
                             long{SYS_poll}, long{SYS_select}, long{SYS_epoll_wait},
#endif
                             long{SYS_epoll_pwait2}})
    if (number == several) return Waits::kYes;
  return Waits::kNo;
}

// A wrapper (a shell, env) waits for its child, whose input it is.
Waits process_waits(pid_t process, int depth) {
  constexpr int kDepthMax = 5;
  Waits out = Waits::kUnknown;
  std::error_code error;
  const std::string tasks = fmt::format("/proc/{}/task", process);
  for (const auto& task : std::filesystem::directory_iterator(tasks, error)) {
    const Waits one = thread_waits(task.path().string());
    if (one == Waits::kYes) return one;
    if (one == Waits::kNo) out = one;
    std::ifstream children(task.path() / "children");
    for (pid_t child; depth < kDepthMax && children >> child;)
      if (process_waits(child, depth + 1) == Waits::kYes) return Waits::kYes;
  }
  return out;
}

}  // namespace

void say_interrupted() {
  static std::atomic<bool> said = false;
  if (said.exchange(true)) return;
  log_info(
      "interrupted: nothing new is graded; what is under way is waited for, {} seconds at most "
      "(Ctrl-C again: ends at once)",
      kInterruptedWait.count() / 1000);
}

VerifierLog::VerifierLog(Path path, int64_t bytes_max) : path_(std::move(path)), left_(bytes_max) {
  if (!path_.empty() && path_exists(path_)) left_ -= dure::file_size(path_);
}

void VerifierLog::write(std::string_view text) {
  const std::lock_guard lock(mutex_);
  if (path_.empty() || left_ <= 0) return;
  const bool last = std::ssize(text) >= left_;
  std::string piece(text.substr(0, static_cast<size_t>(left_)));
  if (last) piece += "\n... what follows is not kept\n";
  left_ -= std::ssize(text);
  try {
    append_file(path_, piece);
  } catch (const Error&) {
    left_ = 0;  // A full disk: the log is not worth the run.
  }
}

VerifierProcess::VerifierProcess(const std::vector<std::string>& command, VerifierLog& log)
    : log_(log) {
  start(command);
}

void VerifierProcess::start(const std::vector<std::string>& command) {
  Pipe in = make_pipe(), out = make_pipe(), err = make_pipe();
  for (const Descriptor* ours : {&in.write, &out.read, &err.read}) do_not_wait(*ours);
  // Low numbers would be overwritten while the child's files are put in place.
  const Descriptor input = raised(in.read, 3), output = raised(out.write, 3),
                   errors = raised(err.write, 3);
  const int error = spawn(command, {input.number(), output.number(), errors.number()}, process_);
  if (error != 0) {
    const ErrorCode code = error == ENOENT   ? ErrorCode::kNotFound
                           : error == EACCES ? ErrorCode::kPermission
                                             : ErrorCode::kIo;
    fail(code, "cannot run '{}': {}", command[0], std::strerror(error));
  }
  guard_group(process_);
  input_ = std::move(in.write);
  output_ = std::move(out.read);
  errors_ = std::move(err.read);
}

VerifierProcess::~VerifierProcess() {
  input_.reset();
  if (!killed_) ends_within(kFarewell);
  read_errors();
  kill();  // Before its end is taken note of: until then nobody else gets its number.
  forget_group(process_);
  while (::waitpid(process_, nullptr, 0) < 0 && errno == EINTR) {
  }
}

void VerifierProcess::kill() {
  killed_ = true;
  ::kill(-process_, SIGKILL);
}

bool VerifierProcess::has_ended() {
  siginfo_t info{};
  return ::waitid(P_PID, static_cast<id_t>(process_), &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
         info.si_pid != 0;
}

bool VerifierProcess::ends_within(milliseconds wait) {
  const Clock::time_point until = Clock::now() + wait;
  while (!has_ended()) {
    if (Clock::now() >= until) return false;
    std::this_thread::sleep_for(milliseconds(2));
  }
  return true;
}

VerifierProcess::Waits VerifierProcess::waits_for_input() const {
  return process_waits(process_, 0);
}

std::string VerifierProcess::how_it_ended() {
  std::string out = "closed its standard output";
  if (ends_within(milliseconds(100))) {
    siginfo_t info{};
    ::waitid(P_PID, static_cast<id_t>(process_), &info, WEXITED | WNOHANG | WNOWAIT);
    out = info.si_code == CLD_EXITED ? fmt::format("ended with status {}", info.si_status)
                                     : fmt::format("was ended by signal {}", info.si_status);
  }
  read_errors();
  const std::string said = last_lines(errors_end_);
  return said.empty() ? out : out + ": " + said;
}

void VerifierProcess::read_errors() {
  char piece[4096];
  // A process that never stops talking may not keep us here.
  for (int i = 0; i < 64; ++i) {
    const ssize_t got = ::read(errors_.number(), piece, sizeof piece);
    if (got == 0) errors_.reset();
    if (got <= 0) return;
    const std::string_view text(piece, static_cast<size_t>(got));
    log_.write(text);
    errors_end_ += text;
    if (errors_end_.size() > kErrorsKept) errors_end_.erase(0, errors_end_.size() - kErrorsKept);
  }
}

bool VerifierProcess::read_output() {
  char piece[65536];
  while (line_.size() <= kVerifierLineBytesMax) {
    const ssize_t got = ::read(output_.number(), piece, sizeof piece);
    if (got == 0) return false;
    if (got < 0) return would_wait();
    line_.append(piece, static_cast<size_t>(got));
  }
  return true;
}

bool VerifierProcess::take_lines(const std::function<bool(std::string_view)>& on_line) {
  size_t begin = 0;
  bool done = false;
  for (size_t end; !done && (end = line_.find('\n', begin)) != std::string::npos; begin = end + 1) {
    std::string_view line(line_.data() + begin, end - begin);
    if (line.ends_with('\r')) line.remove_suffix(1);
    done = !line.empty() && on_line(line);
  }
  line_.erase(0, begin);
  return done;
}

void VerifierProcess::send(std::string_view& rest) {
  const WithoutSigpipe guard;
  const ssize_t sent = ::write(input_.number(), rest.data(), rest.size());
  if (sent > 0) rest.remove_prefix(static_cast<size_t>(sent));
  // Nobody reads any more: the end of its output tells the rest.
  if (sent < 0 && !would_wait()) input_.reset();
}

// Its last line may lack a line break.
VerifierProcess::Outcome VerifierProcess::end_of_output(
    const std::function<bool(std::string_view)>& on_line) {
  if (!line_.empty() && on_line(line_)) return {VerifierFailure::kNone, "ended"};
  return {VerifierFailure::kDied, how_it_ended()};
}

VerifierProcess::Outcome VerifierProcess::exchange(
    const std::string& request, Clock::time_point deadline,
    const std::function<bool(std::string_view)>& on_line) {
  const std::string whole = request + "\n";
  std::string_view rest = whole;
  bool hurry = false;
  while (true) {
    if (!hurry && interrupted()) {
      hurry = true;
      say_interrupted();
      deadline = std::min(deadline, Clock::now() + kInterruptedWait);
    }
    pollfd files[] = {{.fd = output_.number(), .events = POLLIN, .revents = 0},
                      {.fd = errors_.number(), .events = POLLIN, .revents = 0},
                      {.fd = rest.empty() ? -1 : input_.number(), .events = POLLOUT, .revents = 0}};
    ::poll(files, 3, wait_ms(deadline));
    if (files[1].revents != 0) read_errors();
    if (files[2].revents != 0) send(rest);
    const bool more = files[0].revents == 0 || read_output();
    if (take_lines(on_line)) {
      // Half a request would be the beginning of the next.
      if (!rest.empty()) return {VerifierFailure::kNone, "half a request is unread"};
      ++answered_;
      return {};
    }
    if (line_.size() > kVerifierLineBytesMax) {
      return {VerifierFailure::kTooLong,
              fmt::format("a line of more than {} bytes", kVerifierLineBytesMax)};
    }
    if (!more) return end_of_output(on_line);
    if (Clock::now() >= deadline)
      return {hurry ? VerifierFailure::kInterrupted : VerifierFailure::kTimeout,
              "no reply in time"};
  }
}

}  // namespace dure
