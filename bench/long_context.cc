// Does a context as long as the model's own run within the memory that was planned, and how does
// its speed fall with depth? One sequence through the generator that serves: a prompt of random
// ids, then new tokens; at each power of two of positions the time, and at the end the memory that
// was really used.
//
//   bench_long_context MODEL [CONTEXT [NEW [ROWS [KV_TYPE]]]]      (the model's own context, 32
//   new, 512 rows a forward, keys and values as they are by default)
#include <sys/resource.h>

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>

#include "base/error.h"
#include "base/interrupt.h"
#include "base/progress.h"
#include "base/rng.h"
#include "bench_main.h"
#include "cli/kv_type_flag.h"
#include "cli/memory_plan.h"
#include "model/load.h"
#include "tensor/cpu_stream.h"
#include "timing.h"

namespace dure {
namespace {

std::string bytes_text(int64_t bytes) { return format_bytes(static_cast<double>(bytes)); }

// A number of /proc/self/status in bytes: "VmHWM", "RssAnon", ...
int64_t status_bytes(const std::string& name) {
  const std::string text = read_file("/proc/self/status");
  const size_t at = text.find(name + ":");
  return at == std::string::npos ? 0 : std::atoll(text.c_str() + at + name.size() + 1) * 1024;
}

struct Length {
  int64_t context = 0, fresh = 0;  // tokens in all; new ones of these
};

class Run {
 public:
  Run(const ModelWeights& weights, const GeneratorOptions& options, Length length, Stream& stream)
      : length_(length), generator_(weights, options, stream) {
    GenerationRequest request{.new_tokens_max = length.fresh};
    request.sampling.temperature = 0;
    Rng rng(1);
    for (int64_t i = 0; i < length.context - length.fresh; ++i)
      request.prompt.push_back(
          static_cast<int32_t>(rng.below(static_cast<uint64_t>(weights.config.vocab_size))));
    generator_.submit(std::move(request));
  }

  void go() {
    const InterruptScope scope;
    start_ = now_s();
    for (int64_t fresh = 0; generator_.step();) {
      throw_if_interrupted("the lines printed so far stand");
      for (const TokenEvent& event : generator_.events()) {
        if (event.error != nullptr) throw Error(*event.error);
        if (++fresh == 1) read();
      }
      milestone(generator_.statistics().rows);
    }
    const double s = now_s() - read_s_;
    std::printf("%lld new tokens at the end: %.2f s, %.2f tokens/s\n",
                static_cast<long long>(length_.fresh), s,
                static_cast<double>(length_.fresh - 1) / s);
  }

 private:
  void read() {
    read_s_ = now_s();
    std::printf("prompt of %lld tokens: %.1f s, %.0f tokens/s\n",
                static_cast<long long>(length_.context - length_.fresh), read_s_ - start_,
                static_cast<double>(length_.context - length_.fresh) / (read_s_ - start_));
  }
  void milestone(int64_t rows) {
    if (rows < next_) return;
    const double now = now_s();
    std::printf("  %8lld positions after %8.1f s; the last %lld at %.0f a second; anonymous %s\n",
                static_cast<long long>(rows), now - start_, static_cast<long long>(rows - last_),
                static_cast<double>(rows - last_) / (now - last_s(now)),
                bytes_text(status_bytes("RssAnon")).c_str());
    std::fflush(stdout);
    last_ = rows;
    last_at_ = now;
    next_ *= 2;
  }
  double last_s(double) const { return last_ == 0 ? start_ : last_at_; }

  Length length_;
  Generator generator_;
  double start_ = 0, read_s_ = 0, last_at_ = 0;
  int64_t next_ = 4096, last_ = 0;
};

void require_fit(const ServePlan& plan, const ModelConfig& config, const ModelFiles& files,
                 const GeneratorOptions& options) {
  const MachineMemory memory = machine_memory();
  if (plan.total_bytes() <= memory.available_bytes) return;
  const auto most = largest_context(config, &files, options, memory.available_bytes);
  fail(ErrorCode::kOutOfMemory, "a context of {} tokens needs {}, {} are free; {} tokens would fit",
       options.context_tokens_max, bytes_text(plan.total_bytes()),
       bytes_text(memory.available_bytes), most.value_or(0));
}

int run(int argc, char** argv) {
  if (argc < 2) fail(ErrorCode::kInvalidArgument, "MODEL [CONTEXT [NEW [ROWS [KV_TYPE]]]]");
  const auto number = [&](int i, int64_t otherwise) {
    return argc > i ? std::atoll(argv[i]) : otherwise;
  };
  const auto files = std::make_shared<const ModelFiles>(find_model(argv[1]));
  const ModelConfig& config = files->config();
  const Length length{number(2, config.context_tokens), number(3, 32)};
  const int64_t rows = number(4, 512);
  if (length.context > config.context_tokens || length.fresh < 1 ||
      length.context <= length.fresh || rows < 1)
    fail(ErrorCode::kInvalidArgument, "{} tokens, {} of them new, {} rows: the context is {}",
         length.context, length.fresh, rows, config.context_tokens);
  const ModelWeights weights = open_weights(files, Arithmetic::kInteger8);
  KvTypeFlag kv_type;
  if (argc > 5) kv_type.name = argv[5];
  GeneratorOptions options{.sequences_max = 1,
                           .context_tokens_max = length.context,
                           .batch_rows_max = rows,
                           .chunk_tokens_max = rows,
                           .kv_dtype = kv_type.wanted(arithmetic_in(weights))};
  const ServePlan plan = plan_serving(config, files.get(), options);
  require_fit(plan, config, *files, options);
  std::printf(
      "planned: mapped %s, copied %s, rings %s, pages %s, tables %s, activations %s: allocated "
      "%s\n",
      bytes_text(plan.mapped_bytes).c_str(), bytes_text(plan.copied_bytes).c_str(),
      bytes_text(plan.ring_bytes).c_str(), bytes_text(plan.page_bytes).c_str(),
      bytes_text(plan.table_bytes).c_str(), bytes_text(plan.activation_bytes).c_str(),
      bytes_text(plan.allocated_bytes()).c_str());
  CpuStream stream;
  const int64_t before = status_bytes("RssAnon");
  Run(weights, options, length, stream).go();
  const int64_t peak = status_bytes("VmHWM");
  std::printf(
      "memory: at most %s resident, of it the file %s; before the run %s anonymous; planned %s "
      "and the file\n",
      bytes_text(peak).c_str(), bytes_text(status_bytes("RssFile")).c_str(),
      bytes_text(before).c_str(), bytes_text(plan.allocated_bytes()).c_str());
  return 0;
}

}  // namespace
}  // namespace dure

int main(int argc, char** argv) {
  return dure::bench_main(dure::run, argc, argv, "bench_long_context: ");
}
