// GGUF models against llama.cpp's logits (golden folder gguf/): F32 weights and decoded blocks to
// 2e-5 of the largest logit; llama.cpp's own path quantises activations to 8 bits, which moves
// logits by about 3 % in norm: bounded at 5 %.
#include <gtest/gtest.h>

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

std::vector<float> logits_of(const Path& model, const std::vector<int32_t>& ids) {
  CpuStream stream(2);
  const ModelWeights weights = open_weights(std::make_shared<ModelFiles>(model));
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
        EXPECT_LE(difference.norm, 0.05) << model;
      else
        EXPECT_LE(difference.largest, 2e-5) << model << " " << reference;
    }
  }
}

}  // namespace
}  // namespace dure
