// tests/verdicts.h: where published verdicts on real answers lie.
//
// The folder in DURE_VERDICTS (default: ../shared/data/eval beside the source tree, where it
// exists). A set may be there or not: a test then says so and passes. What belongs to a set but
// carries no verdicts (questions) is looked for in the default folder too.
#pragma once

#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <optional>
#include <vector>

#include "base/file.h"
#include "base/json.h"

namespace dure::verdicts {

inline Path default_root() {
  return Path(DURE_SOURCE_DIR).parent_path() / "shared" / "data" / "eval";
}
inline Path root() {
  const char* named = std::getenv("DURE_VERDICTS");
  EXPECT_TRUE(named == nullptr || std::filesystem::is_directory(named))
      << "DURE_VERDICTS is " << named << ", which is no folder";
  return named != nullptr ? Path(named) : default_root();
}

// A file with verdicts, such as "ifeval/verdicts_gpt-4o-2024-08-06.jsonl".
inline std::optional<Path> file(const std::string& name) {
  const Path path = root() / name;
  if (std::filesystem::exists(path)) return path;
  std::printf("skipped: no %s\n", path.string().c_str());
  return std::nullopt;
}
// A file that goes with them.
inline std::optional<Path> companion(const std::string& name) {
  for (const Path& folder : {root(), default_root()})
    if (std::filesystem::exists(folder / name)) return folder / name;
  std::printf("skipped: no %s\n", name.c_str());
  return std::nullopt;
}

}  // namespace dure::verdicts
