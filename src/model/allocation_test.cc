// A step in steady state allocates nothing: every operator new of this test program is counted.
#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <new>

#include "model/model_fixture.h"
#include "tensor/cpu_stream.h"

namespace {
std::atomic<int64_t> g_allocations{0};
}  // namespace

// The sanitizers bring their own operators, which must not be mixed with these.
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define DURE_COUNTS_ALLOCATIONS 1
// Not inlined, so that the compiler does not see a free() meet a new.
[[gnu::noinline]] void* operator new(std::size_t size) {
  ++g_allocations;
  if (void* memory = std::malloc(size == 0 ? 1 : size)) return memory;
  throw std::bad_alloc();
}
[[gnu::noinline]] void operator delete(void* memory) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
#endif

namespace dure {
namespace {

using namespace testing_model;

int64_t allocations_of_a_step(const ModelConfig& config, bool recompute) {
  Parameters parameters(config), gradients(config);
  randomise(parameters, 3);
  CpuStream stream(2);
  const ModelWeights weights = bind_weights(parameters, stream);
  const ModelGradients places = gradients.by_place();
  const Batch batch = random_batch(config, {70, 31, 5}, 1);
  TrainPass pass(config, {.rows_max = 128, .recompute = recompute});
  int64_t before = 0;
  for (int step = 0; step < 4; ++step) {
    if (step == 2) before = g_allocations.load();  // scratch of the workers has grown by then
    pass.forward(weights, batch.input(), stream);
    pass.token_log_probabilities(true, stream);
    pass.backward({.mtp_coefficient = 0.1, .balance_coefficient = 0.1}, places, stream);
  }
  return g_allocations.load() - before;
}

TEST(Allocation, TrainingStepsAllocateNothing) {
#ifndef DURE_COUNTS_ALLOCATIONS
  GTEST_SKIP() << "allocations are not counted under a sanitizer";
#endif
  EXPECT_EQ(allocations_of_a_step(tiny_k1(), false), 0);
  EXPECT_EQ(allocations_of_a_step(tiny_k1(), true), 0);
  EXPECT_EQ(allocations_of_a_step(tiny_k2(), false), 0);
}

}  // namespace
}  // namespace dure
