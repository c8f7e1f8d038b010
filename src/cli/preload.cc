// Declares and obeys --preload.
#include "cli/preload.h"

#include "base/error.h"
#include "base/progress.h"
#include "base/shared_log.h"
#include "cli/args.h"
#include "cli/memory_plan.h"
#include "model/touch.h"

namespace dure {
namespace {

// Below this nobody waits, and a bar would only be in the way.
constexpr int64_t kShownBytes = int64_t{256} << 20;

}  // namespace

void preload(const ModelWeights& weights, Stream& stream) {
  const int64_t bytes = touch_bytes(weights);
  if (bytes < kShownBytes) {
    touch_weights(weights, stream, [](int64_t) {});
    return;
  }
  Progress progress("reading the model", bytes, "bytes");
  touch_weights(weights, stream, [&](int64_t done) { progress.update(done); });
  progress.finish();
}

void PreloadFlag::declare(Args& args) {
  args.option(
      "--preload", name,
      "read the model into memory before the first token: auto (where it fits), yes, or no");
}

void PreloadFlag::run(const ModelWeights& weights, const std::string& source,
                      Stream& stream) const {
  if (name != "auto" && name != "yes" && name != "no")
    fail(ErrorCode::kInvalidArgument, "--preload {}: give auto, yes or no", name);
  if (name == "no") return;
  const int64_t bytes = touch_bytes(weights), available = machine_memory().available_bytes;
  if (name == "auto" && bytes > available) {
    log_own_warn(
        "{}: {} of weights, and {} of memory are free: they are read from the file as they are "
        "needed, again and again, which is slow; `dure quantize` makes them smaller, `dure plan` "
        "says what fits",
        source, format_bytes(static_cast<double>(bytes)),
        format_bytes(static_cast<double>(available)));
    return;
  }
  preload(weights, stream);
}

}  // namespace dure
