// The sampler's final probabilities against golden/objectives/sampling.json.
#include <gtest/gtest.h>

#include "base/json.h"
#include "base/options.h"
#include "engine/sampler.h"
#include "golden.h"

namespace dure {
namespace {

SamplingOptions options_of(const Json& config) {
  SamplingOptions options;
  Json plain = Json::object();
  for (const auto& [key, value] : config.as_object()) {
    if (key != "logit_bias") plain[key] = value;
  }
  from_json(options, plain, "sampling.json");
  for (const auto& [token, bias] : config.at("logit_bias").as_object()) {
    options.logit_bias.emplace_back(std::stoi(token), bias.as_double());
  }
  return options;
}

std::vector<int32_t> ids_of(const Json& list) {
  std::vector<int32_t> ids;
  for (const Json& id : list.as_array()) ids.push_back(static_cast<int32_t>(id.as_int()));
  return ids;
}

TEST(SamplingGolden, FinalProbabilities) {
  golden::Report report("sampling");
  for (const Path& root : golden::roots("objectives")) {
    const Path path = root / "sampling.json";
    if (!path_exists(path)) continue;
    const Json cases = load_json(path);
    for (size_t i = 0; i < cases.size(); ++i) {
      const Json& c = cases.at(i);
      std::vector<float> logits;
      for (const Json& x : c.at("logits").as_array())
        logits.push_back(static_cast<float>(x.as_double()));
      const std::vector<int32_t> prompt = ids_of(c.at("prompt")),
                                 generated = ids_of(c.at("generated"));
      const SamplingOptions options = options_of(c.at("config"));
      check_sampling(options, static_cast<int64_t>(logits.size()));
      Sampler sampler;
      std::vector<double> dense(logits.size());
      const TokenCounts seen(prompt, generated);
      for (const TokenProbability& t : sampler.distribution(options, logits, {.seen = &seen})) {
        dense[static_cast<size_t>(t.token)] = t.probability;
      }
      const auto& expected = c.at("probabilities").as_array();
      ASSERT_EQ(dense.size(), expected.size());
      // Logits are f32 here: a probability moves by at most 2 * eps * |logit| / temperature,
      // relatively.
      const double bound = 4 * 6e-8 * 130 / options.temperature;
      for (size_t k = 0; k < dense.size(); ++k) {
        const double difference = std::abs(dense[k] - expected[k].as_double());
        report.add("probability", difference, fmt::format("case {} token {}", i, k));
        EXPECT_LE(difference, bound) << "case " << i << " token " << k;
      }
    }
  }
}

}  // namespace
}  // namespace dure
