// A header of fixed size and the values.
#include "rl/reference_log.h"

#include <bit>
#include <cstring>
#include <string>

#include "base/hash.h"

namespace dure {
namespace {

static_assert(std::endian::native == std::endian::little);

struct Header {
  char magic[8] = {'D', 'U', 'R', 'E', 'R', 'E', 'F', '1'};
  uint64_t identity = 0, count = 0, hash = 0;
};
static_assert(sizeof(Header) == 32);

std::string_view bytes_of(const std::vector<double>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(double)};
}

}  // namespace

void write_reference_log(const Path& file, uint64_t identity, const std::vector<double>& values) {
  Header header;
  header.identity = identity;
  header.count = values.size();
  header.hash = xxh64(bytes_of(values));
  std::string text(reinterpret_cast<const char*>(&header), sizeof header);
  text += bytes_of(values);
  write_file(file, text);
}

std::optional<std::vector<double>> read_reference_log(const Path& file, uint64_t identity,
                                                      int64_t count) {
  if (!path_exists(file)) return std::nullopt;
  const std::string text = read_file(file);
  std::vector<double> values(static_cast<size_t>(count));
  if (text.size() != sizeof(Header) + values.size() * sizeof(double)) return std::nullopt;
  Header header;
  const Header wanted;
  std::memcpy(&header, text.data(), sizeof header);
  std::memcpy(values.data(), text.data() + sizeof header, values.size() * sizeof(double));
  const bool good = std::memcmp(header.magic, wanted.magic, sizeof header.magic) == 0 &&
                    header.identity == identity && header.count == values.size() &&
                    header.hash == xxh64(bytes_of(values));
  if (!good) return std::nullopt;
  return values;
}

}  // namespace dure
