// Counts against loops over rows and keys, and against the count of parameters that a token meets.
#include "model/operations.h"

#include <gtest/gtest.h>

#include "formats/config_fixture.h"
#include "formats/tensor_names.h"

namespace dure {
namespace {

double keys_by_loop(int64_t window, int64_t first, int64_t rows) {
  int64_t sum = 0;
  for (int64_t p = first; p < first + rows; ++p)
    sum += p + 1 - (window > 0 ? std::max<int64_t>(0, p - window + 1) : 0);
  return static_cast<double>(sum);
}

TEST(Operations, KeysInSightAreThoseOfALoop) {
  for (const int64_t window : {0, 1, 5, 64})
    for (const int64_t first : {0, 1, 4, 5, 6, 63, 64, 200})
      for (const int64_t rows : {0, 1, 3, 70})
        EXPECT_EQ(keys_in_sight(window, first, rows), keys_by_loop(window, first, rows))
            << window << " " << first << " " << rows;
}

// A row meets every active parameter but the norms once; 32 bits would be gone long before.
TEST(Operations, ProductsAreTwoAParameterThatARowMeets) {
  const ModelConfig c = k_exaone_236b();
  const int64_t rows = 1000;
  const Operations o = forward_operations(c, {.rows = rows, .head_rows = rows});
  const auto active = static_cast<double>(count_model(c).active_without_embedding);
  EXPECT_NEAR((o.total() - o.attention) / (2.0 * rows), active, 1e-4 * active);
  const Operations last = forward_operations(c, {.first_position = 262143, .rows = 1});
  EXPECT_EQ(last.attention, 4.0 * 64 * 128 * (12 * 262144.0 + 36 * 128));
  EXPECT_EQ(last.head, 0);
}

TEST(Operations, ChunksAddUpToTheWhole) {
  const ModelConfig c = k_exaone_2();
  double sum = 0;
  for (int64_t at = 0; at < 10000; at += 512)
    sum += forward_operations(c, {.first_position = at, .rows = std::min<int64_t>(512, 10000 - at)})
               .total();
  EXPECT_DOUBLE_EQ(sum, forward_operations(c, {.rows = 10000}).total());
}

TEST(Operations, TrainingIsThreeForwardsWithTheMtpLayerWhereItLearns) {
  const ModelConfig c = k_exaone_236b();
  const Operations without = training_operations(c, 4096, MtpLoss::kWithout),
                   with = training_operations(c, 4096, MtpLoss::kWith);
  EXPECT_EQ(without.total(), 3 * forward_operations(c, {.rows = 4096, .head_rows = 4096}).total());
  EXPECT_EQ(with.head, 2 * without.head);
  // The MTP layer is global.
  EXPECT_EQ(with.attention - without.attention, 3 * 4.0 * 64 * 128 * keys_in_sight(0, 0, 4096));
}

}  // namespace
}  // namespace dure
