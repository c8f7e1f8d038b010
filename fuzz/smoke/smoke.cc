// The smoke run of the fuzzers: no libFuzzer, any compiler. `fuzz_smoke [SECONDS] [TARGET ...]`
// replays the seeds of every target, then random changes of them, in equal shares of the processor
// time.
//
// Fails where a target crashes, throws, takes too long over one input or allocates beyond a small
// multiple of it; says which target, and leaves the input in fuzz_smoke.TARGET.input. The changes
// follow from the target's name and count alone, so a failure comes again. Not here: coverage (the
// libFuzzer programs of fuzz/CMakeLists.txt).
#include <fmt/core.h>
#include <signal.h>
#include <sys/time.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <ctime>
#include <exception>
#include <memory>
#include <new>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/hash.h"
#include "base/rng.h"
#include "smoke_targets.h"

namespace {

// Live bytes that C++ code holds now and held at most. Under a sanitizer its own allocator stays in
// charge.
std::atomic<int64_t> live_bytes{0}, peak_bytes{0};

constexpr int kSecondsForOneInput = 10;
constexpr int64_t kBytesFree =
    int64_t{96} << 20;  // Tables of a target itself; a rendering's own limit is below.
constexpr int64_t kBytesForOne = 4096;  // Allocated for each byte of input, at most.
constexpr size_t kInputBytesMax = 1 << 16;

}  // namespace

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#include <malloc.h>

void* operator new(size_t size) {
  void* block = std::malloc(size);
  if (block == nullptr) throw std::bad_alloc();
  const int64_t bytes = static_cast<int64_t>(malloc_usable_size(block));
  const int64_t now = live_bytes.fetch_add(bytes) + bytes;
  if (now > peak_bytes.load()) peak_bytes.store(now);
  return block;
}
void operator delete(void* block) noexcept {
  live_bytes.fetch_sub(static_cast<int64_t>(malloc_usable_size(block)));
  std::free(block);
}
void operator delete(void* block, size_t) noexcept { operator delete(block); }
#endif

namespace dure {
namespace {

// Processor time, so that a busy machine tries as much as a quiet one.
double seconds_used() { return static_cast<double>(std::clock()) / CLOCKS_PER_SEC; }

// SIGPROF after so many seconds of processor time; 0: never mind.
void set_limit(int seconds) {
  itimerval limit{};
  limit.it_value.tv_sec = seconds;
  ::setitimer(ITIMER_PROF, &limit, nullptr);
}

// What is being tried, for the signal handler: the failing input is written by plain system calls.
const char* current_name = "";
char current_file[128];
const std::string* current_input = nullptr;

void keep_input() {
  FILE* file = std::fopen(current_file, "wb");
  if (file == nullptr) return;
  std::fwrite(current_input->data(), 1, current_input->size(), file);
  std::fclose(file);
}

[[noreturn]] void give_up(const char* what) {
  keep_input();
  std::fprintf(stderr, "fuzz %s: %s; the input is in %s\n", current_name, what, current_file);
  std::_Exit(1);
}

void on_signal(int signal) {
  give_up(signal == SIGPROF   ? "one input took more than ten seconds"
          : signal == SIGABRT ? "a check failed"
                              : "crashed");
}

std::string random_bytes(Rng& rng, int64_t count) {
  std::string out;
  for (int64_t i = 0; i < count; ++i) out += static_cast<char>(rng.below(256));
  return out;
}

// A number as a binary format stores it: near a power of two, near zero, near the file's size.
std::string binary_number(Rng& rng, size_t size) {
  const uint64_t bases[] = {0, size, uint64_t{1} << rng.below(64), ~uint64_t{0}};
  uint64_t value = bases[rng.below(4)] + static_cast<uint64_t>(rng.between(-2, 2));
  std::string out;
  for (int64_t i = 0; i < (rng.below(2) == 0 ? 4 : 8); ++i, value >>= 8)
    out += static_cast<char>(value);
  return out;
}

// What means something to a text format.
std::string text_token(Rng& rng) {
  static const char* tokens[] = {"{",
                                 "}",
                                 "[",
                                 "]",
                                 "\"",
                                 "\\u0000",
                                 "null",
                                 "true",
                                 "-1",
                                 "0",
                                 "1e99",
                                 ":",
                                 ",",
                                 "{{",
                                 "}}",
                                 "{%",
                                 "%}",
                                 "for",
                                 "in range(",
                                 "|",
                                 "\n",
                                 "  ",
                                 "&a ",
                                 "*a",
                                 "- ",
                                 "<",
                                 ">",
                                 "</",
                                 "</think>",
                                 "<tool_call>",
                                 "\xff",
                                 "\xf0\x9f\x98\x80",
                                 "\xed\x95\x9c",
                                 "9223372036854775808",
                                 "-9223372036854775808",
                                 "0.1",
                                 "NaN",
                                 "\\ud800",
                                 "<function=",
                                 "</parameter>",
                                 "(",
                                 ")",
                                 "%",
                                 "+",
                                 "*",
                                 "~"};
  return tokens[rng.below(std::size(tokens))];
}

void change(std::string& bytes, const std::vector<std::string>& seeds, Rng& rng) {
  const int64_t size = std::ssize(bytes);
  const size_t at = static_cast<size_t>(rng.below(static_cast<uint64_t>(size) + 1));
  const size_t count = static_cast<size_t>(rng.below(uint64_t{1} << rng.below(9)));
  switch (rng.below(9)) {
    case 0:
      if (at < bytes.size()) bytes[at] ^= static_cast<char>(1 << rng.below(8));
      return;
    case 1:
      bytes.resize(at);
      return;
    case 2:
      bytes.erase(std::min(at, bytes.size()), count);
      return;
    case 3:
      bytes.insert(
          at, bytes.substr(static_cast<size_t>(rng.below(static_cast<uint64_t>(size) + 1)), count));
      return;
    case 4:
      bytes.insert(at, random_bytes(rng, rng.between(1, 8)));
      return;
    case 5:
      bytes.replace(at, 8, binary_number(rng, bytes.size()));
      return;
    case 6:
      bytes.insert(at, text_token(rng));
      return;
    case 7:
      bytes.replace(at, static_cast<size_t>(rng.between(0, 4)), text_token(rng));
      return;
    default: {  // The head of one, the tail of another.
      const std::string& other = seeds[rng.below(seeds.size())];
      bytes = bytes.substr(0, at) + other.substr(static_cast<size_t>(rng.below(other.size() + 1)));
    }
  }
}

void try_one(const SmokeTarget& target, const std::string& input) {
  current_input = &input;
  // In a block of its exact size, so that an address sanitizer sees a read past its end.
  const std::unique_ptr<uint8_t[]> exact(new uint8_t[input.size()]);
  std::copy(input.begin(), input.end(), exact.get());
  set_limit(kSecondsForOneInput);
  const int64_t before = live_bytes.load();
  peak_bytes.store(before);
  try {
    target.run(exact.get(), input.size());
  } catch (const std::exception& error) {
    give_up(fmt::format("threw \"{}\"", error.what()).c_str());
  }
  set_limit(0);
  const int64_t used = peak_bytes.load() - before;
  if (used > kBytesFree + kBytesForOne * std::ssize(input))
    give_up(fmt::format("allocated {} bytes for {} of input", used, input.size()).c_str());
}

std::vector<std::string> seeds_of(const char* name) {
  std::vector<Path> paths;
  for (const auto& entry :
       std::filesystem::directory_iterator(Path(DURE_SOURCE_DIR) / "fuzz/seeds" / name))
    paths.push_back(entry.path());
  std::sort(paths.begin(), paths.end());
  std::vector<std::string> out;
  for (const Path& path : paths) out.push_back(read_file(path));
  return out;
}

void run_target(const SmokeTarget& target, double seconds) {
  current_name = target.name;
  std::snprintf(current_file, sizeof(current_file), "fuzz_smoke.%s.input", target.name);
  const std::vector<std::string> seeds = seeds_of(target.name);
  if (seeds.empty()) {
    std::fprintf(stderr, "fuzz %s: no seeds in fuzz/seeds/%s\n", target.name, target.name);
    std::exit(1);
  }
  const double start = seconds_used();
  try_one(target, "");
  for (const std::string& seed : seeds) try_one(target, seed);
  int64_t count = 0;
  for (; seconds_used() - start < seconds; ++count) {
    Rng rng(xxh64(target.name), static_cast<uint64_t>(count));
    std::string input = seeds[rng.below(seeds.size())];
    for (int64_t i = rng.between(1, 4); i > 0; --i) change(input, seeds, rng);
    input.resize(std::min(input.size(), kInputBytesMax));
    try_one(target, input);
  }
  std::printf("fuzz %-16s %3zu seeds, %6lld changed inputs\n", target.name, seeds.size(),
              static_cast<long long>(count));
}

}  // namespace
}  // namespace dure

int main(int argc, char** argv) {
  for (const int signal : {SIGPROF, SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL}) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    if (signal != SIGPROF && signal != SIGABRT) continue;  // The sanitizer says more.
#endif
    ::signal(signal, dure::on_signal);
  }
  if (::access("/dev/shm", W_OK) == 0)
    ::setenv("TMPDIR", "/dev/shm", 1);  // Some targets read files.
  const double seconds = argc > 1 ? std::atof(argv[1]) : 10;
  const auto chosen = [&](const char* name) {
    return argc <= 2 || std::find(argv + 2, argv + argc, std::string(name)) != argv + argc;
  };
  const auto count =
      std::count_if(std::begin(dure::kSmokeTargets), std::end(dure::kSmokeTargets),
                    [&](const dure::SmokeTarget& target) { return chosen(target.name); });
  for (const dure::SmokeTarget& target : dure::kSmokeTargets) {
    if (chosen(target.name)) dure::run_target(target, seconds / static_cast<double>(count));
  }
  return 0;
}
