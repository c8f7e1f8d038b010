// Chains of multiply-adds that never leave the registers; sums and copies over arrays of 128 MiB.
// best_rate() repeats each for its share of the time and keeps the best.
#include "kernels/peak.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/peak.cc"
#include "hwy/foreach_target.h"
#include "kernels/isa.h"
//
#include <algorithm>
#include <chrono>
#include <cstring>

#include "hwy/highway.h"
#include "kernels/cpu/integer8_panel.h"
#include "tensor/buffer.h"

HWY_BEFORE_NAMESPACE();
namespace dure {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

// Runs `rounds` rounds of 12 independent fma chains; returns the operations done. 12 cover latency
// 4 to 5 x 2 pipes.
double FmaChains(int64_t rounds, float* out) {
  const hn::ScalableTag<float> d;
  using V = hn::Vec<decltype(d)>;
  V sum[12];
  HWY_UNROLL(12)
  for (int i = 0; i < 12; ++i) sum[i] = hn::Set(d, 1.0f + static_cast<float>(i));
  V a = hn::Set(d, 0.999f), b = hn::Set(d, 1e-3f);  // Stays near 1: no denormals.
  for (int64_t r = 0; r < rounds; ++r) {
    HWY_UNROLL(12)
    for (int i = 0; i < 12; ++i) sum[i] = hn::MulAdd(sum[i], a, b);
  }
  HWY_UNROLL(12)
  for (int i = 1; i < 12; ++i) sum[0] = hn::Add(sum[0], sum[i]);
  *out = hn::GetLane(sum[0]);
  return static_cast<double>(rounds) * 12 * 2 * static_cast<double>(hn::Lanes(d));
}

// Reads [count] words in whole vectors; the sum keeps the loads alive.
uint32_t ReadAll(const uint32_t* from, int64_t count) {
  const hn::ScalableTag<uint32_t> d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  auto a = hn::Zero(d), b = a, c = a, e = a;
  for (int64_t i = 0; i + 4 * lanes <= count; i += 4 * lanes) {
    a = hn::Add(a, hn::LoadU(d, from + i));
    b = hn::Add(b, hn::LoadU(d, from + i + lanes));
    c = hn::Add(c, hn::LoadU(d, from + i + 2 * lanes));
    e = hn::Add(e, hn::LoadU(d, from + i + 3 * lanes));
  }
  return hn::GetLane(hn::Add(hn::Add(a, b), hn::Add(c, e)));
}

}  // namespace HWY_NAMESPACE
}  // namespace dure
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace dure {
HWY_EXPORT(FmaChains);
HWY_EXPORT(ReadAll);
namespace {

constexpr int64_t kBytes = int64_t{128} << 20;  // of each of the two arrays

double now_s() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// The best rate of `run` (which returns the amount of work it did) within `seconds`.
template <typename Run>
double best_rate(double seconds, Run run) {
  double best = 0;
  const double end = now_s() + seconds;
  for (int i = 0; i < 2 || now_s() < end; ++i) {
    const double start = now_s(), work = run();
    best = std::max(best, work / (now_s() - start));
  }
  return best;
}

double fma_rate(CpuStream& stream, int threads, double seconds) {
  return best_rate(seconds, [&] {
    double work = 0;
    stream.threads().parallel_for(threads, [&](int64_t index, int) {
      float sink = 0;
      const double done = DURE_DISPATCH(FmaChains)(20'000, &sink);
      if (index == 0) work = done * threads;
    });
    return work;
  });
}

// chains(sink) on all threads at once; returns the operations of one.
template <typename Chains>
double chain_rate(CpuStream& stream, double seconds, Chains chains) {
  const int threads = stream.thread_count();
  return best_rate(seconds, [&] {
    double work = 0;
    stream.threads().parallel_for(threads, [&](int64_t index, int) {
      int32_t sum = 0;
      const double done = chains(&sum);
      volatile int32_t sink = sum;
      static_cast<void>(sink);
      if (index == 0) work = done * threads;
    });
    return work;
  });
}

double int8_rate(CpuStream& stream, const cpu::Integer8Body& body, double seconds) {
  return chain_rate(stream, seconds, [&](int32_t* sink) { return body.chains(20'000, sink); });
}

// 2 x 2 sums of tiles.
double bf16_rate(CpuStream& stream, double seconds) {
  return chain_rate(stream, seconds, [](int32_t* sink) {
    constexpr int kRounds = 20'000;
    const cpu::AmxSession session(cpu::whole_tiles());
    cpu::AmxTiles t(cpu::whole_tiles());
    for (int r = 0; r < kRounds; ++r) {
      t.dot_bf16<0, 4, 6>();
      t.dot_bf16<1, 4, 7>();
      t.dot_bf16<2, 5, 6>();
      t.dot_bf16<3, 5, 7>();
    }
    alignas(64) int32_t sums[16][16];
    t.store<0>(sums, cpu::kTileRowBytes);
    *sink = sums[0][0];
    return kRounds * (4 * 16 * 16 * 32 * 2.0);
  });
}

void measure_integers(CpuStream& stream, double seconds, MachinePeak& peak) {
  const bool tiles = isa() == Isa::kAmx;
  peak.int8_gops = int8_rate(stream, cpu::integer8_body(), seconds) * 1e-9;
  peak.int8_vector_gops =
      tiles ? int8_rate(stream, cpu::integer8_vnni(), seconds) * 1e-9 : peak.int8_gops;
  if (tiles) peak.bf16_gflops = bf16_rate(stream, seconds) * 1e-9;
}

// body(first byte, bytes) on each thread's stretches of an array. Returns the bytes covered.
template <typename Body>
double each_stretch(CpuStream& stream, int64_t bytes, Body body) {
  const int64_t pieces = int64_t{stream.thread_count()} * 8, piece = bytes / pieces / 4096 * 4096;
  stream.threads().parallel_for(pieces, [&](int64_t i, int) { body(i * piece, piece); });
  return static_cast<double>(piece * pieces);
}

// `passes`: over an array.
template <typename Body>
double memory_rate(CpuStream& stream, double seconds, double passes, Body body) {
  return best_rate(seconds, [&] { return passes * each_stretch(stream, kBytes, body); });
}

}  // namespace

void read_once(const void* data, int64_t bytes, CpuStream& stream) {
  const auto* const at = static_cast<const char*>(data);
  each_stretch(stream, bytes, [&](int64_t first, int64_t count) {
    volatile uint32_t sink =
        DURE_DISPATCH(ReadAll)(reinterpret_cast<const uint32_t*>(at + first), count / 4);
    static_cast<void>(sink);
  });
}

MachinePeak measure_peak(CpuStream& stream, double seconds) {
  const double part = seconds / (isa() == Isa::kAmx ? 7 : 5);
  Buffer from(kBytes), to(kBytes);
  auto* const a = static_cast<char*>(from.data());
  auto* const b = static_cast<char*>(to.data());
  memory_rate(stream, 0, 1, [&](int64_t first, int64_t bytes) {
    std::memset(a + first, 1, static_cast<size_t>(bytes));
  });
  MachinePeak peak;
  peak.fma_gflops_thread = fma_rate(stream, 1, part) * 1e-9;
  peak.fma_gflops = fma_rate(stream, stream.thread_count(), part) * 1e-9;
  measure_integers(stream, part, peak);
  peak.read_gbytes_s = 1e-9 * best_rate(part, [&] {
                         read_once(a, kBytes, stream);
                         return static_cast<double>(kBytes);
                       });
  peak.copy_gbytes_s = 1e-9 * memory_rate(stream, part, 2, [&](int64_t first, int64_t bytes) {
                         std::memcpy(b + first, a + first, static_cast<size_t>(bytes));
                       });
  return peak;
}

}  // namespace dure
#endif
