// GGUF models against llama.cpp's logits (golden folder gguf/): F32 weights and decoded blocks to
// 2e-5 of the largest logit. llama.cpp's own path rounds activations to 8 bits, as
// Arithmetic::kInteger8 does: compared with that.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <sstream>

#include "base/json.h"
#include "golden.h"
#include "model/load.h"
#include "model/train_pass.h"
#include "tensor/cpu_stream.h"

namespace dure {
namespace {

std::vector<int32_t> read_tokens(const Path& path) {
  std::istringstream in(read_file(path));
  std::vector<int32_t> out;
  for (int32_t id; in >> id;) out.push_back(id);
  return out;
}

std::vector<float> read_floats(const Path& path) {
  const std::string bytes = read_file(path);
  std::vector<float> out(bytes.size() / 4);
  std::memcpy(out.data(), bytes.data(), out.size() * 4);
  return out;
}

std::vector<float> logits_of(const Path& model, const std::vector<int32_t>& ids,
                             Arithmetic arithmetic = Arithmetic::kExact) {
  CpuStream stream(2);
  const ModelWeights weights = open_weights(std::make_shared<ModelFiles>(model), arithmetic);
  const int64_t rows = std::ssize(ids), vocab = weights.config.vocab_size;
  TrainPass pass(weights.config, {.rows_max = rows});
  const std::vector<int32_t> targets(ids.size(), kIgnore);
  const std::vector<int64_t> lengths = {rows};
  pass.forward(weights, {.ids = ids, .targets = targets, .document_lengths = lengths}, stream);
  std::vector<float> logits(static_cast<size_t>(rows * vocab));
  head_logits(weights, pass.hidden(), host_view(logits.data(), {rows, vocab}), stream);
  return logits;
}

struct Difference {
  double largest = 0, norm = 0;  // of the largest expected value; of the norm of all
};

Difference compare(const std::vector<float>& got, const std::vector<float>& wanted) {
  double worst = 0, scale = 0, squares = 0, total = 0;
  for (size_t i = 0; i < wanted.size(); ++i) {
    const double difference = static_cast<double>(got[i]) - static_cast<double>(wanted[i]);
    worst = std::isnan(difference) ? HUGE_VAL : std::max(worst, std::abs(difference));
    scale = std::max(scale, std::abs(static_cast<double>(wanted[i])));
    squares += difference * difference;
    total += static_cast<double>(wanted[i]) * static_cast<double>(wanted[i]);
  }
  return {worst / scale, std::sqrt(squares / total)};
}

// By row (token) of [rows, V]: the norm of the difference beside that of the second.
std::vector<double> row_differences(const std::vector<float>& got, const std::vector<float>& wanted,
                                    size_t rows) {
  const size_t width = wanted.size() / rows;
  std::vector<double> out;
  for (size_t at = 0; at < wanted.size(); at += width) {
    const auto row = [&](const std::vector<float>& all) {
      return std::vector<float>(all.begin() + static_cast<int64_t>(at),
                                all.begin() + static_cast<int64_t>(at + width));
    };
    out.push_back(compare(row(got), row(wanted)).norm);
  }
  return out;
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

// llama.cpp rounds activations to 8 bits, in blocks of the lengths that Arithmetic::kInteger8 has:
// a step of max|x| / 127, so an error of uniform distribution, max|x| / (127 sqrt(12)) in RMS. Both
// stand off the exact logits by sums of as many such errors, so by the same amount, within half and
// twice; and off each other by less than the two together. A router near a tie may flip: then a row
// is off by much more, and those that attend to it by a little. Few are.
void compare_rounded(golden::Report& report, const std::string& model, const Path& path,
                     const std::vector<int32_t>& ids, const std::vector<float>& exact,
                     const std::vector<float>& native) {
  const std::vector<float> rounded = logits_of(path, ids, Arithmetic::kInteger8);
  const std::vector<double> theirs = row_differences(native, exact, ids.size()),
                            ours = row_differences(rounded, exact, ids.size()),
                            between = row_differences(rounded, native, ids.size());
  report.add("8-bit rows of llama.cpp off exact", median(theirs), model);
  report.add("8-bit rows of integer8 off exact", median(ours), model);
  report.add("8-bit rows of the two apart", median(between), model);
  EXPECT_LE(median(theirs), 2 * median(ours)) << model;
  EXPECT_GE(median(theirs), 0.5 * median(ours)) << model;
  EXPECT_LE(median(between), median(theirs) + median(ours)) << model;
  for (const auto* rows : {&theirs, &ours}) {
    const int64_t flipped =
        std::count_if(rows->begin(), rows->end(), [&](double d) { return d > 4 * median(ours); });
    EXPECT_LE(flipped, static_cast<int64_t>(rows->size()) / 5 + 1) << model;
  }
}

TEST(GoldenGguf, LogitsOfLlamaCpp) {
  golden::Report report("gguf");
  for (const Path& root : golden::roots("gguf")) {
    const Json cases = load_json(root / "cases.json");
    for (const Json& item : cases.as_array()) {
      const std::string model = item.at("model").as_string(),
                        reference = item.at("reference").as_string();
      const std::vector<float> wanted = read_floats(root / item.at("logits").as_string());
      const std::vector<float> got =
          logits_of(root / model, read_tokens(root / item.at("tokens").as_string()));
      ASSERT_EQ(got.size(), wanted.size()) << model;
      const Difference difference = compare(got, wanted);
      report.add(reference + " logits, largest", difference.largest, model);
      report.add(reference + " logits, norm", difference.norm, model);
      if (reference == "native")
        compare_rounded(report, model, root / model,
                        read_tokens(root / item.at("tokens").as_string()), got, wanted);
      else
        EXPECT_LE(difference.largest, 2e-5) << model << " " << reference;
    }
  }
}

}  // namespace
}  // namespace dure
