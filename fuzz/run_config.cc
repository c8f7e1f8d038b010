// YAML of runs: whatever the text, an Error or options that survive writing and reading, for every
// configuration that a verb reads; and as one --set.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "base/error.h"
#include "base/options.h"
#include "data/corpus.h"
#include "eval/evaluate.h"
#include "rl/rl_trainer.h"
#include "train/trainer.h"

using namespace dure;

namespace {

template <typename T>
void exercise(const Json& json) {
  try {
    T options;
    from_json(options, json, "fuzz");
    T again;
    from_json(again, parse_json(to_json(options).dump(), "again"), "again");
    DURE_CHECK(to_json(again) == to_json(options), "options changed in writing");
  } catch (const Error&) {
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  try {
    const Json json = parse_yaml(text, "fuzz");
    exercise<TrainConfig>(json);
    exercise<RlConfig>(json);
    exercise<EvalSuite>(json);
    exercise<CorpusOptions>(json);
  } catch (const Error&) {
  }
  try {
    Json root = Json::object();
    set_path(root, text);
  } catch (const Error&) {
  }
  return 0;
}
