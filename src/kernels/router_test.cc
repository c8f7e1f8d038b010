// The router: selection exactly as the twin's (ties, groups, every size), weights and gradients
// within derived bounds, the dispatch's invariants, sums over experts; finite differences; bits.
#include "kernels/router.h"

#include <numeric>

#include "kernels/kernel_testing.h"
#include "kernels/ref/router.h"
#include "kernels/rows.h"

namespace dure {
namespace {

using namespace testing;
using ref::Doubles;

RouterFacts facts(int64_t experts, int64_t slots, int64_t groups = 1, int64_t kept = 1,
                  bool normalise = true) {
  return {.expert_count = experts,
          .experts_per_token = slots,
          .group_count = groups,
          .groups_kept = kept,
          .normalise = normalise,
          .scale = 2.5};
}
RouterFacts softmax(int64_t experts, int64_t slots, bool normalise) {
  RouterFacts f = facts(experts, slots, 1, 1, normalise);
  f.scoring = RouterScoring::kSoftmax;
  return f;
}
const std::vector<RouterFacts> kFacts = {
    facts(1, 1),           facts(8, 3),         facts(16, 4),          facts(17, 16),
    facts(16, 4, 4, 2),    facts(128, 8),       facts(256, 8, 8, 4),   facts(512, 16, 1, 1, false),
    facts(12, 2, 6, 1),    softmax(8, 3, true), softmax(128, 8, true), softmax(60, 4, false),
    softmax(17, 17, false)};

struct Routed {
  Tensor logits, bias, p, w;
  std::vector<int32_t> experts;
  ConstTensorView selection_bias = bias.view;  // empty with a softmax
  Doubles wide_bias() const { return selection_bias ? bias.wide() : Doubles(); }
  // Logits on a coarse grid where `ties`: many are equal, and sums of p and bias too.
  Routed(const RouterFacts& f, int64_t tokens, bool ties)
      : logits(random_tensor({tokens, f.expert_count}, 1, 2)),
        bias(random_tensor({f.expert_count}, 2, 0.1)),
        p({tokens, f.expert_count}),
        w({tokens, f.experts_per_token}),
        experts(static_cast<size_t>(tokens * f.experts_per_token), -1) {
    if (f.scoring == RouterScoring::kSoftmax) selection_bias = {};
    if (!ties) return;
    for (int64_t i = 0; i < logits.view.elements(); ++i)
      logits.data()[i] = std::round(logits.data()[i]);
    for (int64_t i = 0; i < bias.view.elements(); ++i) bias.data()[i] = 0;
  }
};

TEST(Router, SelectsAsTheTwinAndWeighsWithinBounds) {
  const Isa before = isa();
  for (const Isa now : isas()) {
    set_isa(now);
    CpuStream stream(2);
    Comparison weights(std::string(isa_name(now)) + " weights"),
        gradient(std::string(isa_name(now)) + " dlogits");
    for (const RouterFacts& f : kFacts) {
      for (const bool ties : {false, true}) {
        const int64_t tokens = 150;
        Routed r(f, tokens, ties);
        route(f, r.logits.view, r.selection_bias, r.p.view, list(r.experts), r.w.view, stream);
        const auto twin = ref::route(f, r.logits.wide(), r.wide_bias());
        ASSERT_EQ(r.experts, twin.experts) << f.expert_count << " experts, ties " << ties;
        const Tensor dw = random_tensor({tokens, f.experts_per_token}, 3);
        Tensor d = filled({tokens, f.expert_count}, 9);
        route_backward(f, r.p.view, list(r.experts), dw.view, d.view, stream);
        Doubles w_bound = twin.weights;
        // A softmax also has its differences of logits, up to 16, and its sum.
        const int64_t more = f.scoring == RouterScoring::kSoftmax ? f.expert_count / 16 + 40 : 0;
        // The twin rounds to nearly 0 what cancels: the logits that are not chosen.
        Doubles d_bound(twin.probabilities.size(), more > 0 ? 1e-15 : 0);
        for (double& b : w_bound) b = gamma(f.experts_per_token + 16 + more) * std::abs(b);
        for (size_t i = 0; i < twin.experts.size(); ++i) {
          const size_t K = static_cast<size_t>(f.experts_per_token), t = i / K;
          double sum = 0, size = std::abs(dw.data()[i]);
          for (size_t s = t * K; s < (t + 1) * K; ++s) {
            sum += twin.probabilities[t * static_cast<size_t>(f.expert_count) +
                                      static_cast<size_t>(twin.experts[s])];
            size = std::max(size, double{std::abs(dw.data()[s])});
          }
          const auto at =
              t * static_cast<size_t>(f.expert_count) + static_cast<size_t>(twin.experts[i]);
          const double p = twin.probabilities[at], share = f.normalise ? 2 * size / sum : size;
          d_bound[at] = gamma(2 * f.experts_per_token + 30 + 2 * more) * f.scale * share * p +
                        1e-37;  // p (1 - p) errs by u p near p = 1.
          if (more == 0 || f.normalise) continue;
          const auto row = t * static_cast<size_t>(f.expert_count);  // all logits share in it
          for (size_t e = row; e < row + static_cast<size_t>(f.expert_count); ++e) {
            d_bound[e] = gamma(2 * f.experts_per_token + 30 + 2 * more) * f.scale * 2 * size *
                             twin.probabilities[e] +
                         1e-37;
          }
        }
        weights.add(r.w, twin.weights, w_bound,
                    fmt::format("E{} K{}", f.expert_count, f.experts_per_token));
        gradient.add(d, ref::route_backward(f, twin.probabilities, twin.experts, dw.wide()),
                     d_bound, fmt::format("E{} K{}", f.expert_count, f.experts_per_token));
      }
    }
  }
  set_isa(before);
}

TEST(Router, TwinsGradientsAreThoseOfFiniteDifferences) {
  for (const RouterFacts& f : {facts(8, 3), softmax(8, 3, true), softmax(8, 3, false)}) {
    const Routed r(f, 6, false);
    const Doubles x = r.logits.wide(), dw = random_tensor({6, 3}, 3).wide();
    const auto twin = ref::route(f, x, r.wide_bias());
    expect_gradient(
        x, ref::route_backward(f, twin.probabilities, twin.experts, dw),
        [&](const Doubles& v) { return dot(ref::route_weights(f, v, twin.experts), dw); }, "route");
    const std::vector<int64_t> lengths = {1, 3, 2};
    expect_gradient(
        x, ref::sequence_balance(f, x, twin.experts, lengths, 0.7).dlogits,
        [&](const Doubles& v) {
          return ref::sequence_balance(f, v, twin.experts, lengths, 0.7).loss;
        },
        "balance");
  }
}

// What the loss becomes that was `before`.
double balance_loss(const RouterFacts& f, const Routed& r, const std::vector<int64_t>& lengths,
                    const BalanceScales& scales, TensorView dlogits, Stream& stream,
                    double before = 0) {
  std::vector<int64_t> offsets(lengths.size() + 1);
  std::partial_sum(lengths.begin(), lengths.end(), offsets.begin() + 1);
  double loss = before;
  sequence_balance(f, r.p.view, list(r.experts), list(offsets), scales, host_view(&loss, {1}),
                   dlogits, stream);
  return loss;
}

TEST(Router, BalanceLossEqualsItsTwin) {
  CpuStream stream(2);
  Comparison loss("balance loss"), gradient("balance dlogits");
  for (const RouterFacts& f : kFacts) {
    const std::vector<int64_t> lengths = {1, 50, 7, 92};
    Routed r(f, 150, false);
    route(f, r.logits.view, r.selection_bias, r.p.view, list(r.experts), r.w.view, stream);
    const auto twin = ref::sequence_balance(f, r.logits.wide(), r.experts, lengths, 0.01);
    Tensor d = filled({150, f.expert_count}, 0);
    const BalanceScales scales{.coefficient = 0.01, .scale = 3};
    const double value = balance_loss(f, r, lengths, scales, d.view, stream);
    EXPECT_EQ(value, balance_loss(f, r, lengths, scales, {}, stream));
    EXPECT_EQ(0.5 + value, balance_loss(f, r, lengths, scales, {}, stream, 0.5)) << "added";
    const double unit =
        gamma(f.expert_count / 16 + 30 +
              (f.scoring == RouterScoring::kSoftmax ? f.expert_count / 16 + 40 : 0));
    loss.add(value, 3 * twin.loss, 3 * unit * twin.loss * 2,
             [&] { return fmt::format("E{}", f.expert_count); });
    Doubles truth = twin.dlogits, bound(truth.size());
    size_t i = 0;
    for (const int64_t length : lengths) {  // |f_e - mean| <= E / K
      for (int64_t n = 0; n < length * f.expert_count; ++n, ++i) {
        truth[i] *= 3;
        bound[i] = 3 * 0.01 / 4 / static_cast<double>(length) *
                       static_cast<double>(f.expert_count) /
                       static_cast<double>(f.experts_per_token) * unit * r.p.data()[i] * 2 /
                       std::accumulate(r.p.data() + i / static_cast<size_t>(f.expert_count) *
                                                        static_cast<size_t>(f.expert_count),
                                       r.p.data() + (i / static_cast<size_t>(f.expert_count) + 1) *
                                                        static_cast<size_t>(f.expert_count),
                                       0.0) +
                   1e-37;
      }
    }
    gradient.add(d, truth, bound, fmt::format("E{} K{}", f.expert_count, f.experts_per_token));
  }
}

TEST(Router, DispatchSortsByExpertThenTokenWithEmptyExperts) {
  const std::vector<int32_t> experts = {0, 5, 2, 5,
                                        0, 2, 5, 6};  // 4 tokens of 2; experts 1, 3, 4, 7 are empty
  std::vector<int64_t> offsets(9);
  std::vector<int32_t> row_token(8), row_of_slot(8);
  CpuStream stream(2);
  dispatch_experts(list(experts), facts(8, 2), {list(offsets), list(row_token), list(row_of_slot)},
                   stream);
  EXPECT_EQ(offsets, (std::vector<int64_t>{0, 2, 2, 4, 4, 4, 7, 8, 8}));
  EXPECT_EQ(row_token, (std::vector<int32_t>{0, 2, 1, 2, 0, 1, 3, 3}));
  for (size_t i = 0; i < experts.size(); ++i) {
    const int64_t row = row_of_slot[i];
    EXPECT_EQ(row_token[static_cast<size_t>(row)], static_cast<int32_t>(i / 2));
    EXPECT_TRUE(row >= offsets[static_cast<size_t>(experts[i])] &&
                row < offsets[static_cast<size_t>(experts[i]) + 1]);
  }
}

TEST(Router, TheRowsOfSomeTokensByExpert) {
  const std::vector<int32_t> experts = {0, 5, 2, 5, 0, 2, 5, 6};  // 4 tokens of 2, as above
  std::vector<int64_t> offsets(9), some(9);
  std::vector<int32_t> row_token(8), row_of_slot(8);
  CpuStream stream(2);
  const ExpertDispatch all{list(offsets), list(row_token), list(row_of_slot)};
  dispatch_experts(list(experts), facts(8, 2), all, stream);
  for (int64_t first = 0; first <= 4; ++first) {
    for (int64_t count = 0; first + count <= 4; ++count) {
      std::vector<int32_t> rows(static_cast<size_t>(2 * count)), expected;
      std::vector<int64_t> begins;
      for (size_t e = 0; e < 8; ++e) {
        begins.push_back(std::ssize(expected));
        for (int64_t r = offsets[e]; r < offsets[e + 1]; ++r) {
          const int32_t token = row_token[static_cast<size_t>(r)];
          if (token >= first && token < first + count) expected.push_back(static_cast<int32_t>(r));
        }
      }
      begins.push_back(std::ssize(expected));
      select_tokens(all, first, count, list(some), list(rows), stream);
      EXPECT_EQ(rows, expected) << first << " +" << count;
      EXPECT_EQ(some, begins) << first << " +" << count;
    }
  }
}

struct Dispatch {
  int64_t tokens, slots, width;
  std::vector<int64_t> offsets;
  std::vector<int32_t> row_token, row_of_slot;
  Tensor x, w, shared, rows, dy;
  Dispatch(int64_t t, int64_t k, int64_t d)
      : tokens(t),
        slots(k),
        width(d),
        offsets(10),
        row_token(static_cast<size_t>(t * k)),
        row_of_slot(row_token),
        x(random_tensor({t, d}, 1)),
        w(random_tensor({t, k}, 2)),
        shared(random_tensor({t, d}, 3)),
        rows(random_tensor({t * k, d}, 4)),
        dy(random_tensor({t, d}, 5)) {
    std::vector<int32_t> experts;
    for (int64_t i = 0; i < t; ++i) {
      for (int64_t s = 0; s < k; ++s)
        experts.push_back(static_cast<int32_t>((i * 5 % (9 - k + 1)) + s));
    }
    CpuStream stream(1);
    dispatch_experts(list(experts), facts(9, k), view(), stream);
  }
  ExpertDispatch view() { return {list(offsets), list(row_token), list(row_of_slot)}; }
  Doubles slot_rows(const Tensor& from) const {
    Doubles out;
    for (const int32_t r : row_of_slot)
      out.insert(out.end(), from.data() + r * width, from.data() + (r + 1) * width);
    return out;
  }
};

TEST(Router, GatherAndCombineForwardAndBackward) {
  CpuStream stream(2);
  Comparison combine("combine"), dweights("combine dweights");
  for (const auto& [t, k, d] :
       std::vector<std::array<int64_t, 3>>{{1, 1, 5}, {40, 4, 100}, {33, 8, 64}, {200, 2, 257}}) {
    Dispatch a(t, k, d);
    Tensor gathered({t * k, d}), y({t, d}), drows({t * k, d}), dw({t, k});
    gather_rows(a.x.view, list(a.row_token), gathered.view, stream);
    for (int64_t r = 0; r < t * k; ++r)
      ASSERT_EQ(gathered.data()[r * d + d - 1],
                a.x.data()[a.row_token[static_cast<size_t>(r)] * d + d - 1]);
    combine_experts(a.view(), a.rows.view, a.w.view, a.shared.view, y.view, stream);
    const Doubles slots = a.slot_rows(a.rows), w = a.w.wide();
    const Doubles truth = ref::combine(slots, w, a.shared.wide(), t, k);
    Doubles bound, sizes = slots, w_sizes = w, shared_sizes = a.shared.wide();
    for (Doubles* v : {&sizes, &w_sizes, &shared_sizes}) {
      for (double& value : *v) value = std::abs(value);
    }
    for (const double size : ref::combine(sizes, w_sizes, shared_sizes, t, k))
      bound.push_back(gamma(k + 2) * size);
    combine.add(y, truth, bound, fmt::format("T{} K{} D{}", t, k, d));
    combine_experts_backward(a.view(), a.rows.view, a.w.view, a.dy.view, drows.view, dw.view,
                             stream);
    Doubles dw_truth, dw_bound;
    for (int64_t s = 0; s < t * k; ++s) {
      double sum = 0, size = 0;
      for (int64_t c = 0; c < d; ++c) {
        const double product = slots[static_cast<size_t>(s * d + c)] * a.dy.data()[s / k * d + c];
        sum += product;
        size += std::abs(product);
        ASSERT_EQ(drows.data()[a.row_of_slot[static_cast<size_t>(s)] * d + c],
                  a.w.data()[s] * a.dy.data()[s / k * d + c]);
      }
      dw_truth.push_back(sum);
      dw_bound.push_back(gamma(d / 16 + 6) * size);
    }
    dweights.add(dw, dw_truth, dw_bound, fmt::format("T{} K{} D{}", t, k, d));
    Tensor dx = filled({t, d}, 1);
    gather_experts_backward(a.view(), drows.view, dx.view, stream);
    for (int64_t i = 0; i < t * d; ++i) {
      float sum = drows.data()[a.row_of_slot[static_cast<size_t>(i / d * k)] * d + i % d];
      for (int64_t s = 1; s < k; ++s)
        sum += drows.data()[a.row_of_slot[static_cast<size_t>(i / d * k + s)] * d + i % d];
      ASSERT_EQ(dx.data()[i], 1 + sum);
    }
  }
}

TEST(Router, CountsAddWhatWasChosen) {
  std::vector<int32_t> experts;
  std::vector<int64_t> counts = {5, 0, 1, 0, 0, 0, 0}, wanted = counts;
  Rng rng(8);
  for (int i = 0; i < 5000; ++i) {
    experts.push_back(static_cast<int32_t>(rng.below(6)));  // The last one is never chosen.
    ++wanted[static_cast<size_t>(experts.back())];
  }
  CpuStream stream(2);
  count_experts(list(experts), list(counts), stream);
  EXPECT_EQ(counts, wanted);
}

TEST(RouterDeathTest, ChecksExperts) {
  CpuStream stream(1);
  std::vector<int64_t> counts(4);
  EXPECT_DEATH(count_experts(list(std::vector<int32_t>{3, 4}), list(counts), stream),
               "expert 4 of 4");
}

TEST(Router, BiasMovesTowardsBalanceAndLeavesTheMeanAlone) {
  CpuStream stream(2);
  std::vector<float> bias(3, 0.5f);
  move_router_bias(list(std::vector<int64_t>{1, 2, 3}), 0.25, list(bias), stream);
  EXPECT_EQ(bias, (std::vector<float>{0.75f, 0.5f, 0.25f}));
  // 10 / 3 is no integer and no double: none of these is at the mean.
  move_router_bias(list(std::vector<int64_t>{3, 3, 4}), 0.25, list(bias), stream);
  EXPECT_EQ(bias, (std::vector<float>{1, 0.75f, 0}));
  // Counts whose mean a double cannot tell from its neighbours.
  const int64_t many = int64_t{1} << 54;
  move_router_bias(list(std::vector<int64_t>{many + 1, many, many - 1}), 0.25, list(bias), stream);
  EXPECT_EQ(bias, (std::vector<float>{0.75f, 0.75f, 0.25f}));
}

TEST(Router, SameBitsAloneForThreadsAndInstructionSets) {
  for (const RouterFacts& f : kFacts) {
    Routed r(f, 150, false);
    const std::vector<int64_t> lengths = {100, 50};
    const Tensor dw = random_tensor({150, f.experts_per_token}, 3);
    expect_same_everywhere(
        fmt::format("E{} K{}", f.expert_count, f.experts_per_token), [&](Stream& stream) {
          route(f, r.logits.view, r.selection_bias, r.p.view, list(r.experts), r.w.view, stream);
          Routed one(f, 1, false);
          route(f, r.logits.view.rows(149, 1), r.selection_bias, one.p.view, list(one.experts),
                one.w.view, stream);
          EXPECT_EQ(one.experts,
                    (std::vector<int32_t>(r.experts.end() - f.experts_per_token, r.experts.end())));
          const std::vector<float> weights = r.w.values();
          expect_same_bits({weights.end() - f.experts_per_token, weights.end()}, one.w.values(),
                           "token alone");
          Tensor d({150, f.expert_count});
          route_backward(f, r.p.view, list(r.experts), dw.view, d.view, stream);
          std::vector<float> all = r.w.values();
          all.push_back(
              static_cast<float>(balance_loss(f, r, lengths, {.coefficient = 1}, d.view, stream)));
          for (const Tensor* t : {&r.p, &d})
            all.insert(all.end(), t->data(), t->data() + t->view.elements());
          for (const int32_t e : r.experts) all.push_back(static_cast<float>(e));
          return all;
        });
  }
  Dispatch a(70, 4, 100);
  expect_same_everywhere("combine", [&](Stream& stream) {
    Tensor y({70, 100}), drows({280, 100}), dw({70, 4}), dx = filled({70, 100}, 1);
    combine_experts(a.view(), a.rows.view, a.w.view, {}, y.view, stream);
    combine_experts_backward(a.view(), a.rows.view, a.w.view, a.dy.view, drows.view, dw.view,
                             stream);
    gather_experts_backward(a.view(), drows.view, dx.view, stream);
    std::vector<float> all = y.values();
    for (const Tensor* t : {&drows, &dw, &dx})
      all.insert(all.end(), t->data(), t->data() + t->view.elements());
    return all;
  });
}

TEST(Router, DivergedLogitsStillGiveDistinctExperts) {
  CpuStream stream(1);
  const RouterFacts f = facts(8, 3, 2, 1);
  Routed r(f, 2, false);
  std::fill_n(r.logits.data(), 8, NAN);
  route(f, r.logits.view, r.selection_bias, r.p.view, list(r.experts), r.w.view, stream);
  EXPECT_EQ((std::vector<int32_t>(r.experts.begin(), r.experts.begin() + 3)),
            (std::vector<int32_t>{0, 1, 2}));
}

}  // namespace
}  // namespace dure
