// The kernels against golden objectives in float64: routing (ties and groups), its gradients, the
// balance loss, and cross-entropy. Cases are listed from every objectives/ folder. A case that is
// wide of its bound names the value.
//
// Bounds: the inputs are rounded to f32 (a logit x moves a sigmoid or a softmax by at most u |x|),
// then some tens of f32 operations. kSteps u (1 + |x|max) relative to the largest value of the
// quantity covers both.
#include <gtest/gtest.h>

#include "base/error.h"
#include "base/json.h"
#include "golden.h"
#include "kernels/cross_entropy.h"
#include "kernels/router.h"
#include "tensor/buffer.h"
#include "tensor/cpu_stream.h"

namespace dure {
namespace {

constexpr double kUnit = 0x1p-24;
constexpr double kSteps = 40;

std::vector<double> doubles(const Json& list) {
  std::vector<double> out;
  for (const Json& item : list.as_array()) {
    if (item.is_array()) {
      for (const double x : doubles(item)) out.push_back(x);
    } else {
      out.push_back(item.as_double());
    }
  }
  return out;
}
std::vector<int32_t> ids(const Json& list) {
  std::vector<int32_t> out;
  for (const double x : doubles(list)) out.push_back(static_cast<int32_t>(x));
  return out;
}

template <typename T>
ConstTensorView list(const std::vector<T>& values) {
  return host_view(std::span<const T>(values));
}

struct Tensor {
  Buffer buffer;
  TensorView view;
  explicit Tensor(Shape shape)
      : buffer(Buffer::of(DType::kF32, shape)), view(buffer.view(DType::kF32, shape)) {}
  Tensor(Shape shape, const std::vector<double>& values) : Tensor(shape) {
    if (static_cast<int64_t>(values.size()) != shape.elements())
      fail(ErrorCode::kCorrupt, "golden case: {} values for {}", values.size(), shape.text());
    for (size_t i = 0; i < values.size(); ++i) view.f32()[i] = static_cast<float>(values[i]);
  }
};

double largest(const std::vector<double>& values) {
  double top = 0;
  for (const double x : values) top = std::max(top, std::abs(x));
  return top;
}

class KernelsGolden : public ::testing::Test {
 protected:
  // Values relative to the largest of the case; `logits` sets the error of the inputs.
  void compare(const std::string& quantity, const Tensor& got, const std::vector<double>& want,
               double logits, const std::string& where) {
    ASSERT_EQ(static_cast<size_t>(got.view.elements()), want.size()) << quantity << ", " << where;
    const double scale = std::max(largest(want), 1e-30);
    for (size_t i = 0; i < want.size(); ++i) {
      const double difference = std::abs(got.view.f32()[i] - want[i]) / scale;
      report_.add(quantity, difference, where + " [" + std::to_string(i) + "]");
      EXPECT_LE(difference, kSteps * kUnit * (1 + logits))
          << quantity << ", " << where << " [" << i << "]: " << got.view.f32()[i] << " where "
          << want[i];
    }
  }
  void compare(const std::string& quantity, double got, double want, double logits,
               const std::string& where) {
    const Tensor one({1}, {got});
    compare(quantity, one, {want}, logits, where);
  }
  template <typename Body>
  void for_each_case(const char* file, const char* section, Body body) {
    for (const Path& folder : golden::roots("objectives")) {
      // Throws, and so fails the test, where it cannot be read.
      const Json json = load_json(folder / file);
      const auto& list = (section != nullptr ? json.at(section) : json).as_array();
      for (size_t i = 0; i < list.size(); ++i)
        body(list[i], (folder / file).string() +
                          (section != nullptr ? std::string(" ") + section : "") + " " +
                          std::to_string(i));
      std::printf("  %s: %zu cases\n", (folder / file).c_str(), list.size());
    }
  }
  golden::Report report_{"kernels"};
  CpuStream stream_{2};
};

struct Routed {
  Tensor logits, bias, probabilities, weights;
  std::vector<int32_t> experts;
  Routed(const RouterFacts& f, int64_t tokens, const Json& c)
      : logits({tokens, f.expert_count}, doubles(c.at("logits"))),
        bias({f.expert_count}, doubles(c.at("bias"))),
        probabilities({tokens, f.expert_count}),
        weights({tokens, f.experts_per_token}),
        experts(static_cast<size_t>(tokens * f.experts_per_token)) {}
  void run(const RouterFacts& f, Stream& stream) {
    route(f, logits.view, bias.view, probabilities.view,
          host_view(experts.data(), {std::ssize(experts)}), weights.view, stream);
  }
};

TEST_F(KernelsGolden, Router) {
  for_each_case("moe.json", "router", [&](const Json& c, const std::string& where) {
    const RouterFacts f{.expert_count = c.at("experts").as_int(),
                        .experts_per_token = c.at("top_k").as_int(),
                        .group_count = c.at("groups").as_int(),
                        .groups_kept = c.at("groups_kept").as_int(),
                        .normalise = c.at("normalise").as_bool(),
                        .scale = c.at("scale").as_double()};
    const int64_t tokens = c.at("tokens").as_int();
    Routed r(f, tokens, c);
    r.run(f, stream_);
    EXPECT_EQ(r.experts, ids(c.at("selected"))) << where;
    const double logits = largest(doubles(c.at("logits")));
    compare("router weights", r.weights, doubles(c.at("weights")), logits, where);
    const Tensor upstream({tokens, f.experts_per_token}, doubles(c.at("upstream")));
    Tensor gradient({tokens, f.expert_count});
    route_backward(f, r.probabilities.view, list(r.experts), upstream.view, gradient.view, stream_);
    compare("router grad_logits", gradient, doubles(c.at("grad_logits")), logits, where);
  });
}

TEST_F(KernelsGolden, Balance) {
  for_each_case("moe.json", "balance", [&](const Json& c, const std::string& where) {
    std::vector<int64_t> offsets{0};
    for (const Json& length : c.at("document_lengths").as_array())
      offsets.push_back(offsets.back() + length.as_int());
    const int64_t tokens = offsets.back();
    const RouterFacts f{.expert_count = c.at("experts").as_int(),
                        .experts_per_token = c.at("top_k").as_int()};
    Routed r(f, tokens, c);
    r.run(f, stream_);
    Tensor gradient({tokens, f.expert_count});
    double loss = 0;
    sequence_balance(f, r.probabilities.view, list(r.experts), list(offsets),
                     {.coefficient = c.at("coefficient").as_double()}, host_view(&loss, {1}),
                     gradient.view, stream_);
    const double logits = largest(doubles(c.at("logits")));
    compare("balance loss", loss, c.at("loss").as_double(), logits, where);
    compare("balance grad_logits", gradient, doubles(c.at("grad_logits")), logits, where);
  });
}

TEST_F(KernelsGolden, CrossEntropy) {
  for_each_case("cross_entropy.json", nullptr, [&](const Json& c, const std::string& where) {
    const int64_t tokens = c.at("tokens").as_int(), vocabulary = c.at("vocabulary").as_int();
    Tensor logits({tokens, vocabulary}, doubles(c.at("logits"))), p({tokens}), lse({tokens});
    const std::vector<int32_t> targets = ids(c.at("targets"));
    token_log_probability(logits.view, list(targets), p.view, lse.view, {}, stream_);
    double valid = 0, loss = 0;
    for (size_t i = 0; i < targets.size(); ++i) {
      if (targets[i] == kIgnore) continue;
      ++valid;
      loss -= p.view.f32()[i];
    }
    const double size = largest(doubles(c.at("logits")));
    compare("cross-entropy loss", loss / valid, c.at("loss").as_double(), size, where);
    const std::vector<float> coefficient(targets.size(), static_cast<float>(-1 / valid));
    log_probability_backward(logits.view, list(targets), lse.view, list(coefficient), stream_);
    compare("cross-entropy grad_logits", logits, doubles(c.at("grad_logits")), size, where);
  });
}

}  // namespace
}  // namespace dure
