// Golden block formats: every TYPE.bin of quant/plain and quant/imatrix decodes to TYPE.f32, bit
// for bit.
#include <gtest/gtest.h>

#include <cstring>

#include "golden.h"
#include "kernels/block_decode.h"

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

}  // namespace
}  // namespace dure
