// Looks names up in the table that cmake/suites.cmake makes.
#include "suite/shipped.h"

#include <algorithm>

namespace dure {
namespace {

// "quick" of "suites/quick.yaml" for "suites"; empty where it is of another kind.
std::string_view stem_of(std::string_view file, std::string_view kind) {
  if (!file.starts_with(kind) || file.size() <= kind.size() || file[kind.size()] != '/') return {};
  file.remove_prefix(kind.size() + 1);
  return file.substr(0, file.rfind('.'));
}

}  // namespace

const ShippedFile* find_shipped(std::string_view kind, std::string_view name) {
  for (const ShippedFile& file : shipped_files()) {
    const std::string_view stem = stem_of(file.name, kind);
    if (stem.empty()) continue;
    if (stem == name || file.name.substr(kind.size() + 1) == name) return &file;
  }
  return nullptr;
}

std::vector<std::string> shipped_names(std::string_view kind) {
  std::vector<std::string> out;
  for (const ShippedFile& file : shipped_files()) {
    if (const std::string_view stem = stem_of(file.name, kind); !stem.empty())
      out.emplace_back(stem);
  }
  std::sort(out.begin(), out.end());
  return out;
}

}  // namespace dure
