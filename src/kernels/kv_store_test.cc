// Keys and values in 8 bits: the twin's bits, the stated error, and what cannot be kept.
#include "kernels/kv_store.h"

#include <cmath>

#include "base/error.h"
#include "kernels/attention.h"
#include "kernels/kernel_testing.h"
#include "kernels/ref/kv_store.h"

namespace dure {
namespace {

using namespace testing;

// One position of one head of 64 in a cache of Q8_0, read back: it is the only key, so that
// attention gives its value; and the score is the key's times the query.
std::vector<float> read_back(const std::vector<float>& x) {
  const AttentionShape shape{1, 1, 64, 0};
  Tensor keys({KvView::kTokens * 64}, DType::kQ8_0), values(keys.view.shape, DType::kQ8_0);
  Tensor row({1, 1, 64}), zero(row.view.shape), out(row.view.shape);
  std::copy(x.begin(), x.end(), row.data());
  std::fill_n(zero.data(), 64, 0.0f);
  const std::vector<int64_t> places = {0};
  CpuStream stream(1);
  const int64_t stride = row_bytes(DType::kQ8_0, KvView::kTokens * 64);
  store_kv({keys.view, values.view, stride}, list(places), zero.view, row.view, stream);
  const AttentionSegment segment{0,
                                 1,
                                 0,
                                 {.keys = keys.view,
                                  .values = values.view,
                                  .block_stride_bytes = stride,
                                  .layout = KvLayout::kHeads,
                                  .end = 1}};
  attention(shape, {&segment, 1}, zero.view, {}, out.view, {}, stream);
  return out.values();
}

// Any size of numbers: what is kept are the twin's bits, within the stated error.
TEST(KvStore, CodesOfEightBitsAreThoseOfTheTwin) {
  Rng rng(41);
  const auto uniform = [&] { return static_cast<float>(rng.uniform() * 2 - 1); };
  for (int i = 0; i < 400; ++i) {
    const float size = std::ldexp(1.0f, static_cast<int>(rng.between(-40, 15)));
    std::vector<float> x(64);
    for (float& value : x) value = uniform() * size;
    if (i % 5 == 0) {  // A step of `size`: ties.
      x[3] = 127 * size;
      x[40] = 127 * size;
      x[4] = 2.5f * size;
      x[41] = -0.5f * size;
    }
    const std::vector<float> kept = read_back(x);
    expect_same_bits(ref::kept_in_q8_0(x), kept, fmt::format("size {}", size));
    for (size_t k = 0; k < x.size(); ++k) {
      float top = 0;
      for (size_t j = k / 32 * 32; j < k / 32 * 32 + 32; ++j) top = std::max(top, std::fabs(x[j]));
      const double bound = std::max(top / 253.5, 127 * 0x1p-25);
      EXPECT_LE(std::fabs(double{x[k]} - double{kept[k]}), bound) << x[k] << " of " << top;
    }
  }
}

TEST(KvStore, WhatEightBitsCannotHoldReadsAsNaN) {
  for (const float bad : {NAN, INFINITY, -INFINITY, 127 * 65520.0f}) {
    std::vector<float> x(64, 1.0f);
    x[37] = bad;
    const std::vector<float> kept = read_back(x);
    for (size_t k = 0; k < 64; ++k) EXPECT_EQ(std::isnan(kept[k]), k >= 32) << k;
    EXPECT_TRUE(std::isnan(ref::kept_in_q8_0(x)[37]));
  }
  const std::vector<float> largest(64, 127 * 65504.0f), zero(64, 0.0f);
  EXPECT_EQ(read_back(largest), largest);
  EXPECT_EQ(read_back(zero), zero);
}

TEST(KvStore, RefusesHeadsThatAreNoWholeBlocks) {
  require_kv_width(DType::kQ8_0, 64);
  require_kv_width(DType::kF16, 20);
  try {
    require_kv_width(DType::kQ8_0, 48);
    ADD_FAILURE() << "48 is no whole number of 32";
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find("heads of this model are 48 wide"), std::string::npos);
  }
}

}  // namespace
}  // namespace dure
