// Biases and their gradients against the double twin, finite differences, bits; groups that are
// empty.
#include "kernels/bias.h"

#include "kernels/kernel_testing.h"
#include "kernels/ref/bias.h"

namespace dure {
namespace {

using namespace testing;
using ref::Doubles;

const std::vector<int64_t> kGroups = {0, 0, 3, 3, 90, 131, 131};  // six experts, three without rows
constexpr int64_t kRows = 131, kColumns = 37;

TEST(Bias, EqualsItsTwin) {
  CpuStream stream(2);
  Comparison added("bias"), gradient("bias gradient");
  for (const bool grouped : {false, true}) {
    const std::vector<int64_t> offsets = grouped ? kGroups : std::vector<int64_t>{0, kRows};
    const auto groups = static_cast<int64_t>(offsets.size()) - 1;
    const Tensor bias = random_tensor({groups, kColumns}, 1);
    Tensor y = random_tensor({kRows, kColumns}, 2), d = filled({groups, kColumns}, 0.5f);
    const Doubles before = y.wide(), truth = ref::add_bias(bias.wide(), kColumns, offsets, before);
    Doubles sums = ref::bias_gradient(before, kColumns, offsets), bound = truth,
            sum_bound(sums.size(), gamma(kRows + 1) * 4 * kRows);
    for (double& value : sums) value += 0.5;
    for (double& value : bound) value = gamma(1) * std::abs(value);
    if (grouped) {
      grouped_bias_gradient(list(offsets), y.view, d.view, stream);
      add_grouped_bias(bias.view, list(offsets), y.view, stream);
    } else {
      bias_gradient(y.view, d.view.reshaped({kColumns}), stream);
      add_bias(bias.view.reshaped({kColumns}), y.view, stream);
    }
    added.add(y, truth, bound, grouped ? "grouped" : "plain");
    gradient.add(d, sums, sum_bound, grouped ? "grouped" : "plain");
  }
}

TEST(Bias, TwinsGradientIsThatOfFiniteDifferences) {
  const Doubles bias = random_tensor({6, 3}, 1).wide(), y = random_tensor({131, 3}, 2).wide(),
                dy = random_tensor({131, 3}, 3).wide();
  expect_gradient(
      bias, ref::bias_gradient(dy, 3, kGroups),
      [&](const Doubles& b) { return dot(ref::add_bias(b, 3, kGroups, y), dy); }, "bias");
}

TEST(Bias, SameBitsForThreadsAndInstructionSets) {
  const Tensor bias = random_tensor({6, 700}, 1), one = random_tensor({700}, 2);
  expect_same_everywhere("bias", [&](Stream& stream) {
    Tensor y = random_tensor({kRows, 700}, 3), d({6, 700}), sum({700});
    add_grouped_bias(bias.view, list(kGroups), y.view, stream);
    add_bias(one.view, y.view, stream);
    grouped_bias_gradient(list(kGroups), y.view, d.view, stream);
    bias_gradient(y.view, sum.view, stream);
    std::vector<float> all = y.values();
    for (const Tensor* t : {&d, &sum})
      all.insert(all.end(), t->data(), t->data() + t->view.elements());
    return all;
  });
}

}  // namespace
}  // namespace dure
