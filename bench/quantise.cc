// How fast is each block encoder, and how far are its blocks from the values?
//
// usage: bench_quantise [MILLIONS]: rows of 4096 normal values with a few heavy tails, MILLIONS
// (default 1) of them, on the threads that DURE_THREADS gives; where ../shared/golden/quant (or
// DURE_GOLDEN) is there, its rows too, beside the reference's blocks. Time is the process's own
// (user).
#include <sys/resource.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "base/file.h"
#include "base/rng.h"
#include "kernels/block_decode.h"
#include "quantise/block_encode.h"
#include "tensor/cpu_stream.h"

using namespace dure;

namespace {

double user_seconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_utime.tv_sec) +
         1e-6 * static_cast<double>(usage.ru_utime.tv_usec);
}

constexpr DType kTypes[] = {DType::kQ8_0,   DType::kQ6_K,  DType::kQ5_K, DType::kQ4_K,
                            DType::kQ5_0,   DType::kQ4_0,  DType::kQ3_K, DType::kQ2_K,
                            DType::kIQ4_NL, DType::kIQ4_XS};

std::vector<float> floats(const Path& path) {
  const std::string bytes = read_file(path);
  std::vector<float> out(bytes.size() / 4);
  std::memcpy(out.data(), bytes.data(), 4 * out.size());
  return out;
}

EncodeError encode(DType dtype, const std::vector<float>& x, int64_t columns,
                   std::span<const float> importance, Stream& stream) {
  const int64_t rows = static_cast<int64_t>(x.size()) / columns;
  std::vector<uint8_t> out(static_cast<size_t>(rows * row_bytes(dtype, columns)));
  return encode_rows(
      {.dtype = dtype, .values = x, .columns = columns, .importance = importance, .name = "bench"},
      out.data(), stream);
}

double relative(const float* x, const float* y, const float* w, int64_t count) {
  double error = 0, energy = 0;
  for (int64_t i = 0; i < count; ++i) {
    const double weight = w == nullptr ? 1 : w[i], rest = static_cast<double>(x[i]) - y[i];
    error += weight * rest * rest;
    energy += weight * x[i] * x[i];
  }
  return energy > 0 ? std::sqrt(error / energy) : 0;
}

void golden(const Path& root, Stream& stream) {
  const std::vector<float> x = floats(root / "input.f32"), w = floats(root / "imatrix.f32");
  const int64_t rows = static_cast<int64_t>(x.size()) / 512;
  for (const char* kind : {"plain", "imatrix"}) {
    const bool weighted = kind[0] == 'i';
    for (const DType dtype : kTypes) {
      const std::string name(dtype_info(dtype).name);
      std::string file = name;
      for (char& c : file)
        if (c != 'K') c = static_cast<char>(std::tolower(c));
      if (!path_exists(root / kind / (file + ".f32"))) continue;
      const std::vector<float> reference = floats(root / kind / (file + ".f32"));
      const std::span<const float> importance =
          weighted ? std::span<const float>(w) : std::span<const float>();
      const EncodeError all = encode(dtype, x, 512, importance, stream);
      std::printf("%-8s %-8s %.5f reference", name.c_str(), kind, all.weighted_relative());
      double error = 0, energy = 0;
      std::string by_row;
      for (int64_t r = 0; r < rows; ++r) {
        const float* row = x.data() + r * 512;
        const double theirs =
            relative(row, reference.data() + r * 512, weighted ? w.data() : nullptr, 512);
        const double ours =
            encode(dtype, std::vector<float>(row, row + 512), 512, importance, stream)
                .weighted_relative();
        char text[32];
        std::snprintf(text, sizeof(text), " %.3f%s", theirs > 0 ? ours / theirs : 1,
                      ours > theirs ? "!" : "");
        by_row += text;
        for (int64_t i = 0; i < 512; ++i) {
          const double weight = weighted ? w[static_cast<size_t>(i)] : 1,
                       rest = static_cast<double>(row[i]) -
                              reference[static_cast<size_t>(r * 512 + i)];
          error += weight * rest * rest;
          energy += weight * row[i] * row[i];
        }
      }
      std::printf(" %.5f ratio %.4f by row%s\n", std::sqrt(error / energy),
                  all.weighted_relative() / std::sqrt(error / energy), by_row.c_str());
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  CpuStream stream;
  const char* named = std::getenv("DURE_GOLDEN");
  const Path root = Path(named != nullptr ? named : "../shared/golden") / "quant";
  if (path_exists(root)) golden(root, stream);
  const double millions = argc > 1 ? std::atof(argv[1]) : 1;
  const int64_t rows = std::max<int64_t>(1, static_cast<int64_t>(millions * 1e6 / 4096));
  std::vector<float> x(static_cast<size_t>(rows * 4096)), w(4096);
  Rng rng(7);
  for (float& value : x) {
    const double normal = rng.normal();
    value = static_cast<float>(0.02 * normal * (rng.below(100) == 0 ? 4 : 1));
  }
  for (float& value : w) value = static_cast<float>(std::exp(rng.normal()));
  for (const DType dtype : kTypes) {
    for (const bool weighted : {false, true}) {
      const double begun = user_seconds();
      const EncodeError error = encode(
          dtype, x, 4096, weighted ? std::span<const float>(w) : std::span<const float>(), stream);
      const double spent = user_seconds() - begun;
      std::printf("%-8s %-8s %6.2f M values a second and core, relative error %.5f\n",
                  dtype_info(dtype).name.data(), weighted ? "weighted" : "plain",
                  static_cast<double>(x.size()) * 1e-6 / spent, error.weighted_relative());
    }
  }
}
