// Objectives, preferences, optimisers, schedule, clipping and router bias against float64 reference
// outputs.
//
// The maths is run in double where it is templated, against bounds of double; the f32 kernels
// against bounds of f32. Every case of every file of the kind is looped over. Router and balance
// gradients, cross-entropy and sampling of the same folder are tested where their kernels are.
#include <gtest/gtest.h>

#include <numeric>

#include "base/json.h"
#include "golden.h"
#include "kernels/ref/optimiser.h"
#include "kernels/router.h"
#include "rl/objectives.h"
#include "rl/preference.h"
#include "tensor/cpu_stream.h"
#include "train/optimiser.h"
#include "train/router_load.h"
#include "train/schedule.h"

namespace dure {
namespace {

// The reference agrees with itself to 1e-10; sums here have at most a few hundred terms of size 1.
constexpr double kDoubleBound = 1e-9;
constexpr double kEpsilon = 0x1p-24;  // Half a unit in the last place of f32.

std::vector<double> doubles(const Json& json) {
  std::vector<double> out;
  for (const Json& item : json.as_array()) out.push_back(item.as_double());
  return out;
}

std::vector<int64_t> integers(const Json& json) {
  std::vector<int64_t> out;
  for (const Json& item : json.as_array()) out.push_back(item.as_int());
  return out;
}

std::vector<float> floats(const Json& json) {
  std::vector<float> out;
  for (const Json& item : json.as_array()) out.push_back(static_cast<float>(item.as_double()));
  return out;
}

struct Differences : golden::Report {
  using Report::Report;
  void note(const std::string& quantity, double got, double want) {
    add(quantity, std::abs(got - want), "number " + std::to_string(index++));
  }
  int64_t index = 0;
};

// Calls body(case) for every case of `file` in every objectives folder; `section` picks a member
// first.
template <typename Body>
void for_each_case(const char* file, const char* section, Body body) {
  int64_t count = 0;
  for (const Path& folder : golden::roots("objectives")) {
    const Json json = load_json(
        folder / file);  // Throws, and so fails the test, where it is missing or unreadable.
    for (const Json& item : (section != nullptr ? json.at(section) : json).as_array()) {
      body(item);
      ++count;
    }
  }
  std::printf("  %s%s%s: %lld cases\n", file, section != nullptr ? " " : "",
              section != nullptr ? section : "", static_cast<long long>(count));
}

struct TokenGradient {
  std::vector<double> logprobs;       // [len]
  std::vector<double> probabilities;  // [len, V]
};

TokenGradient softmax_rows(const std::vector<double>& logits, const std::vector<int64_t>& tokens,
                           size_t vocabulary) {
  TokenGradient out;
  for (size_t t = 0; t < tokens.size(); ++t) {
    const double* row = logits.data() + t * vocabulary;
    const double top = *std::max_element(row, row + vocabulary);
    double sum = 0;
    for (size_t v = 0; v < vocabulary; ++v) sum += std::exp(row[v] - top);
    for (size_t v = 0; v < vocabulary; ++v)
      out.probabilities.push_back(std::exp(row[v] - top) / sum);
    out.logprobs.push_back(row[tokens[t]] - top - std::log(sum));
  }
  return out;
}

ObjectiveOptions options_of(const Json& c) {
  Json fields = c.at("config");
  fields["objective"] = c.at("objective");
  ObjectiveOptions options;
  from_json(options, fields, "case");
  return options;
}

TEST(ObjectivesGolden, PolicyLosses) {
  Differences differences("objectives");
  for_each_case("rl.json", nullptr, [&](const Json& c) {
    const ObjectiveOptions options = options_of(c);
    const size_t vocabulary = static_cast<size_t>(c.at("vocabulary").as_int());
    std::vector<int64_t> lengths;
    for (const Json& row : c.at("tokens").as_array())
      lengths.push_back(static_cast<int64_t>(row.size()));
    const ResponseWeights weights =
        weigh_responses(options, integers(c.at("groups")), doubles(c.at("rewards")), lengths);
    double loss = 0;
    for (size_t i = 0; i < lengths.size(); ++i) {
      EXPECT_EQ(weights.live[i] != 0, c.at("live").at(i).as_bool());
      differences.note("advantages", weights.advantages[i], c.at("advantages").at(i).as_double());
      differences.note("response scale", weights.scales[i],
                       c.at("response_scale").at(i).as_double());
      const std::vector<int64_t> tokens = integers(c.at("tokens").at(i));
      const TokenGradient rows = softmax_rows(doubles(c.at("logits").at(i)), tokens, vocabulary);
      const std::vector<double> sampler = doubles(c.at("sampler_logprobs").at(i)),
                                want = doubles(c.at("grad_logits").at(i));
      std::vector<double> grad(tokens.size());
      loss += response_loss<double>(options, weights.advantages[i], weights.scales[i],
                                    rows.logprobs, sampler, grad);
      for (size_t j = 0; j < want.size(); ++j) {
        const size_t t = j / vocabulary;
        const double hot = static_cast<size_t>(tokens[t]) == j % vocabulary ? 1 : 0;
        differences.note(std::string("grad logits, ") + name_of(options.objective),
                         grad[t] * (hot - rows.probabilities[j]), want[j]);
      }
    }
    differences.note(std::string("loss, ") + name_of(options.objective), loss,
                     c.at("loss").as_double());
  });
  for (const char* name : {"agapo", "rloo", "grpo", "dr_grpo", "dapo", "gspo", "cispo"}) {
    EXPECT_LE(differences.worst("loss, " + std::string(name)), kDoubleBound);
    EXPECT_LE(differences.worst("grad logits, " + std::string(name)), kDoubleBound);
  }
  EXPECT_LE(differences.worst("advantages"), kDoubleBound);
  EXPECT_LE(differences.worst("response scale"), kDoubleBound);
}

ResponseLogProbability response_of(std::span<const double> logprobs,
                                   std::span<const double> reference = {}) {
  return {.sum = std::accumulate(logprobs.begin(), logprobs.end(), 0.0),
          .tokens = std::ssize(logprobs),
          .reference_sum = std::accumulate(reference.begin(), reference.end(), 0.0)};
}

void check_grouper(const Json& c, Differences& differences) {
  const std::vector<double> rewards = doubles(c.at("rewards"));
  const std::vector<double> advantages = grouper_advantages(rewards);
  EXPECT_EQ(advantages.empty(), c.at("dropped").as_bool());
  double loss = 0;
  for (size_t i = 0; i < rewards.size(); ++i) {
    const std::vector<double> logprobs = doubles(c.at("logprobs").at(i));
    const double advantage = advantages.empty() ? 0 : advantages[i];
    ResponseLoss got;
    if (!advantages.empty())
      got = grouper_loss(advantage, std::ssize(rewards), response_of(logprobs));
    loss += got.loss;
    differences.note("grouper", advantage, c.at("advantages").at(i).as_double());
    for (const double want : doubles(c.at("grad_logprobs").at(i)))
      differences.note("grouper", got.slope, want);
  }
  differences.note("grouper", loss, c.at("loss").as_double());
}

void check_pair(const Json& c, Differences& differences) {
  const std::string name = c.at("objective").as_string();
  PreferenceOptions options(enum_from_name<PreferenceObjective>(name, "objective"));
  std::vector<double> reference_chosen, reference_rejected;
  if (name == "dpo") {
    options.beta = c.at("beta").as_double();
    reference_chosen = doubles(c.at("reference_chosen"));
    reference_rejected = doubles(c.at("reference_rejected"));
  }
  const PairLoss got = pair_loss(options, response_of(doubles(c.at("chosen")), reference_chosen),
                                 response_of(doubles(c.at("rejected")), reference_rejected));
  differences.note(name, got.loss, c.at("loss").as_double());
  for (const double want : doubles(c.at("grad_chosen")))
    differences.note(name, got.chosen_slope, want);
  for (const double want : doubles(c.at("grad_rejected")))
    differences.note(name, got.rejected_slope, want);
}

TEST(ObjectivesGolden, Preferences) {
  Differences differences("objectives");
  for_each_case("preference.json", nullptr, [&](const Json& c) {
    const std::string& name = c.at("objective").as_string();
    if (name == "grouper") return check_grouper(c, differences);
    if (name == "simper" || name == "dpo") return check_pair(c, differences);
    ADD_FAILURE() << "unknown preference objective " << name;
  });
  for (const char* name : {"grouper", "simper", "dpo"})
    EXPECT_LE(differences.worst(name), kDoubleBound);
}

struct Sides {  // The same case through the f32 kernels and through the template in double.
  std::vector<float> weights, first, second;
  std::vector<double> weights_d, first_d, second_d;
  explicit Sides(const Json& initial)
      : weights(floats(initial)),
        first(weights.size()),
        second(weights.size()),
        weights_d(doubles(initial)),
        first_d(weights.size()),
        second_d(weights.size()) {}
  static TensorView view(std::vector<float>& x) {
    return host_view(x.data(), {static_cast<int64_t>(x.size())});
  }
  // bound: of the f32 side, per unit of weight and in absolute terms, see the callers.
  void note(Differences& differences, const std::string& name, const Json& want, double relative,
            double absolute) const {
    double largest = 0;
    for (const double w : weights_d) largest = std::max(largest, std::abs(w));
    for (size_t i = 0; i < weights.size(); ++i) {
      const double difference = std::abs(weights[i] - want.at(i).as_double());
      differences.note(name + " f32, share of its bound",
                       difference / (relative * largest + absolute), 0);
      differences.note(name + " f32", weights[i], want.at(i).as_double());
      differences.note(name + " f64", weights_d[i], want.at(i).as_double());
    }
  }
};

TEST(ObjectivesGolden, AdamW) {
  Differences differences("objectives");
  CpuStream stream(2);
  for_each_case("optimiser.json", "adamw", [&](const Json& c) {
    const Json& config = c.at("config");
    Sides s(c.at("initial"));
    for (size_t t = 0; t < c.at("gradients").size(); ++t) {
      const AdamWStep step{.learning_rate = config.at("lr").as_double(),
                           .beta1 = config.at("beta1").as_double(),
                           .beta2 = config.at("beta2").as_double(),
                           .epsilon = config.at("epsilon").as_double(),
                           .gradient_scale = 1,
                           .step = static_cast<int64_t>(t) + 1};
      const std::vector<float> g = floats(c.at("gradients").at(t));
      const std::vector<double> g_d = doubles(c.at("gradients").at(t));
      const double decay = config.at("weight_decay").as_double();
      const AdamWTensor tensor{.weight = s.view(s.weights),
                               .gradient = host_view(std::span(g)),
                               .first = s.view(s.first),
                               .second = s.view(s.second),
                               .weight_decay = decay};
      adamw({&tensor, 1}, step, stream);
      ref::adamw_update<double>(s.weights_d, g_d, s.first_d, s.second_d, decay, step);
      // Each step rounds the weight about four times (2^-24 of it each) and the move of size lr as
      // often.
      s.note(differences, "adamw", c.at("weights").at(t), 4 * kEpsilon * (t + 1.0),
             8 * kEpsilon * (t + 1.0) * step.learning_rate);
    }
  });
  EXPECT_LE(differences.worst("adamw f32, share of its bound"), 1);
  EXPECT_LE(differences.worst("adamw f64"), kDoubleBound);
}

TEST(ObjectivesGolden, Muon) {
  Differences differences("objectives");
  CpuStream stream(2);
  for_each_case("optimiser.json", "muon", [&](const Json& c) {
    const Json& config = c.at("config");
    const int64_t rows = c.at("shape").at(0).as_int(), cols = c.at("shape").at(1).as_int();
    Sides s(c.at("initial"));
    const Shape shape{rows, cols};
    const Buffer workspace = Buffer::of(DType::kF32, {muon_workspace_floats(shape, 2)});
    const MuonStep step{.learning_rate = config.at("lr").as_double(),
                        .momentum = config.at("momentum").as_double(),
                        .gradient_scale = 1,
                        .nesterov = config.at("nesterov").as_bool(),
                        .iterations = static_cast<int>(config.at("iterations").as_int())};
    for (size_t t = 0; t < c.at("gradients").size(); ++t) {
      const std::vector<float> g = floats(c.at("gradients").at(t));
      const std::vector<double> g_d = doubles(c.at("gradients").at(t));
      const double decay = config.at("weight_decay").as_double();
      const MuonTensor tensor{.weight = s.view(s.weights).reshaped(shape),
                              .gradient = host_view(g.data(), shape),
                              .momentum = s.view(s.first).reshaped(shape),
                              .weight_decay = decay};
      muon({&tensor, 1}, step, workspace.view(DType::kF32, {muon_workspace_floats(shape, 2)}),
           stream);
      ref::muon_update<double>(s.weights_d, g_d, s.first_d, rows, cols, decay, step);
      // The quintic multiplies a rounding of X (2^-24) by up to 3.4445 an iteration where the
      // singular value is small.
      const double move =
          step.learning_rate * 0.2 * std::sqrt(static_cast<double>(std::max(rows, cols)));
      s.note(differences, "muon", c.at("weights").at(t), 4 * kEpsilon * (t + 1.0),
             move * kEpsilon * (t + 1.0) * std::pow(3.4445, step.iterations));
    }
  });
  EXPECT_LE(differences.worst("muon f32, share of its bound"), 1);
  EXPECT_LE(differences.worst("muon f64"), kDoubleBound);
}

TEST(ObjectivesGolden, ClipAndSchedule) {
  Differences differences("objectives");
  CpuStream stream(2);
  for_each_case("optimiser.json", "clip", [&](const Json& c) {
    std::vector<std::vector<float>> gradients;
    for (const Json& g : c.at("gradients").as_array()) gradients.push_back(floats(g));
    std::vector<TrainedTensor> parameters;
    for (auto& g : gradients)
      parameters.push_back({"p", TensorKind::kNorm,
                            host_view(g.data(), {static_cast<int64_t>(g.size())}),
                            host_view(g.data(), {static_cast<int64_t>(g.size())})});
    OptimiserOptions options;
    options.clip_norm = c.at("limit").as_double();
    Optimiser optimiser(options, parameters, stream);
    const double norm = optimiser.gradient_norm(), factor = optimiser.clip_factor(norm);
    differences.note("clip", norm, c.at("norm").as_double());
    for (size_t i = 0; i < gradients.size(); ++i) {
      for (size_t j = 0; j < gradients[i].size(); ++j)
        differences.note("clip", gradients[i][j] * factor, c.at("clipped").at(i).at(j).as_double());
    }
  });
  for_each_case("optimiser.json", "wsd", [&](const Json& c) {
    const WsdSchedule schedule{
        .warmup_steps = c.at("warmup_steps").as_int(),
        .stable_steps = c.at("stable_steps").as_int(),
        .decay_steps = c.at("decay_steps").as_int(),
        .peak = c.at("peak").as_double(),
        .final_fraction = c.at("final_fraction").as_double(),
        .shape = enum_from_name<DecayShape>(c.at("decay").as_string(), "decay")};
    for (size_t s = 0; s < c.at("rate").size(); ++s)
      differences.note("wsd, relative to the peak",
                       schedule.rate(static_cast<int64_t>(s)) / schedule.peak,
                       c.at("rate").at(s).as_double() / schedule.peak);
  });
  EXPECT_LE(differences.worst("clip"),
            1e-6);  // The gradients of the case are rounded to f32 first.
  EXPECT_LE(differences.worst("wsd, relative to the peak"), 1e-12);
}

// One step of the kernel from the bias before: rounded to f32, as the rate is, then one addition.
void check_bias(const std::vector<double>& before, const std::vector<int64_t>& counts, double rate,
                const std::vector<double>& want, CpuStream& stream, Differences& differences) {
  std::vector<float> bias(before.begin(), before.end());
  move_router_bias(host_view(std::span<const int64_t>(counts)), rate,
                   host_view(bias.data(), {std::ssize(bias)}), stream);
  for (size_t e = 0; e < bias.size(); ++e) {
    differences.note("router bias", bias[e], want[e]);
    const double bound = kEpsilon * (std::abs(before[e]) + rate + std::abs(want[e])) + 1e-37;
    differences.note("router bias, share of its bound", std::abs(bias[e] - want[e]) / bound, 0);
  }
}

TEST(ObjectivesGolden, RouterBias) {
  Differences differences("objectives");
  CpuStream stream(2);
  for_each_case("moe.json", "bias", [&](const Json& c) {
    std::vector<double> before;
    for (const Json& step : c.at("steps").as_array()) {
      const std::vector<int64_t> counts = integers(step.at("counts"));
      const std::vector<double> want = doubles(step.at("bias"));
      before.resize(counts.size());
      ASSERT_EQ(want.size(), counts.size());
      check_bias(before, counts, c.at("rate").as_double(), want, stream, differences);
      before = want;
      const RouterLoad load = router_load(counts);
      differences.note("load cv", load.cv, step.at("load_cv").as_double());
      differences.note("max violation", load.max_violation, step.at("max_violation").as_double());
    }
  });
  EXPECT_LE(differences.worst("router bias, share of its bound"), 1);
  for (const char* name : {"load cv", "max violation"})
    EXPECT_LE(differences.worst(name), kDoubleBound);
}

}  // namespace
}  // namespace dure
