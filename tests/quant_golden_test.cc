// Golden block formats: every TYPE.bin of quant/plain and quant/imatrix decodes to TYPE.f32, bit
// for bit; and every type with an encoder leaves no more error than the reference's blocks,
// weighted where there are weights, over the whole set and in each row.
#include <gtest/gtest.h>

#include <cstring>

#include "golden.h"
#include "kernels/block_decode.h"
#include "quantise/block_encode.h"
#include "tensor/cpu_stream.h"

namespace dure {
namespace {

void check_type(const Path& bin, golden::Report& report) {
  const std::string name = bin.stem().string();
  const std::optional<DType> dtype = dtype_from_name(name);
  ASSERT_TRUE(dtype && is_block(*dtype)) << bin << ": unknown type";
  const std::string encoded = read_file(bin),
                    expected = read_file(Path(bin).replace_extension(".f32"));
  const DTypeInfo& info = dtype_info(*dtype);
  const int64_t blocks = static_cast<int64_t>(encoded.size()) / info.block_bytes,
                elements = blocks * info.block_elements;
  ASSERT_EQ(static_cast<int64_t>(encoded.size()), blocks * info.block_bytes) << bin;
  ASSERT_EQ(static_cast<int64_t>(expected.size()), 4 * elements) << bin;
  std::vector<float> decoded(static_cast<size_t>(elements)), wanted(decoded.size()),
      piece(decoded.size());
  decode_blocks(*dtype, encoded.data(), blocks, decoded.data());
  std::memcpy(wanted.data(), expected.data(), expected.size());
  int64_t unequal = 0;
  for (size_t i = 0; i < wanted.size(); ++i) {
    report.add(name, std::abs(static_cast<double>(decoded[i]) - static_cast<double>(wanted[i])),
               bin.parent_path().filename().string() + " " + std::to_string(i));
    unequal += decoded[i] == wanted[i] ? 0 : 1;  // 0 and -0 count as equal.
  }
  EXPECT_EQ(unequal, 0) << bin;
  for (int64_t first = 0; first < elements; first += 77) {
    decode_elements(*dtype, encoded.data(), first, std::min<int64_t>(77, elements - first),
                    piece.data() + first);
  }
  EXPECT_EQ(piece, decoded) << bin;
}

TEST(GoldenQuant, DecodesEveryTypeExactly) {
  golden::Report report("quant decode");
  int types = 0;
  for (const Path& root : golden::roots("quant")) {
    for (const auto& entry : std::filesystem::recursive_directory_iterator(root)) {
      if (entry.path().extension() != ".bin") continue;
      check_type(entry.path(), report);
      ++types;
    }
  }
  std::printf("golden quant: %d files decoded\n", types);
}

std::vector<float> floats_of(const Path& path) {
  const std::string bytes = read_file(path);
  std::vector<float> out(bytes.size() / sizeof(float));
  std::memcpy(out.data(), bytes.data(), out.size() * sizeof(float));
  return out;
}

constexpr int64_t kColumns = 512;

struct Squares {
  double error = 0, energy = 0;
  double relative() const { return energy > 0 ? std::sqrt(error / energy) : std::sqrt(error); }
};

Squares squares_of(const float* x, const float* y, const std::vector<float>& weights,
                   int64_t rows) {
  Squares out;
  for (int64_t i = 0; i < rows * kColumns; ++i) {
    const double w =
        weights.empty() ? 1 : static_cast<double>(weights[static_cast<size_t>(i % kColumns)]);
    const double value = static_cast<double>(x[i]), rest = value - static_cast<double>(y[i]);
    out.error += w * rest * rest;
    out.energy += w * value * value;
  }
  return out;
}

// One TYPE.f32 of the reference beside the encoder's blocks for the same input.
void compare_encoder(const Path& reference, DType dtype, const std::vector<float>& x,
                     const std::vector<float>& weights) {
  const std::vector<float> theirs = floats_of(reference);
  ASSERT_EQ(theirs.size(), x.size()) << reference;
  const int64_t rows = std::ssize(x) / kColumns;
  std::string blocks(static_cast<size_t>(rows * row_bytes(dtype, kColumns)), '\0');
  CpuStream stream(1);
  encode_rows({.dtype = dtype,
               .values = x,
               .columns = kColumns,
               .importance = weights,
               .name = reference.string()},
              blocks.data(), stream);
  std::vector<float> ours(x.size());
  decode_blocks(dtype, blocks.data(),
                static_cast<int64_t>(blocks.size()) / dtype_info(dtype).block_bytes, ours.data());
  const double all = squares_of(x.data(), ours.data(), weights, rows).relative(),
               wanted = squares_of(x.data(), theirs.data(), weights, rows).relative();
  std::printf("golden quant encode: %-7s %-8s relative error %.5f, reference %.5f, ratio %.3f\n",
              dtype_info(dtype).name.data(), weights.empty() ? "plain" : "weighted", all, wanted,
              wanted > 0 ? all / wanted : 1);
  EXPECT_LE(all, wanted) << reference;
  for (int64_t r = 0; r < rows; ++r) {
    const int64_t at = r * kColumns;
    // A row that both hold almost exactly is a matter of luck in rounding one scale to f16.
    const double own = squares_of(x.data() + at, ours.data() + at, weights, 1).relative();
    EXPECT_LE(own,
              std::max(5e-4, squares_of(x.data() + at, theirs.data() + at, weights, 1).relative() *
                                 (1 + 1e-9)))
        << reference << " row " << r;
  }
}

TEST(GoldenQuant, EncodersAreNoWorseThanTheReference) {
  int compared = 0;
  for (const Path& root : golden::roots("quant")) {
    if (!path_exists(root / "input.f32")) continue;
    const std::vector<float> x = floats_of(root / "input.f32");
    for (const char* kind : {"plain", "imatrix"}) {
      if (!path_exists(root / kind)) continue;
      const std::vector<float> weights =
          kind[0] == 'i' ? floats_of(root / "imatrix.f32") : std::vector<float>();
      for (const auto& entry : std::filesystem::directory_iterator(root / kind)) {
        const auto dtype = dtype_from_name(entry.path().stem().string());
        if (entry.path().extension() != ".f32" || !dtype || !has_encoder(*dtype)) continue;
        compare_encoder(entry.path(), *dtype, x, weights);
        ++compared;
      }
    }
  }
  std::printf("golden quant: %d encodings compared\n", compared);
}

}  // namespace
}  // namespace dure
