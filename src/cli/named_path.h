// cli/named_path.h: arguments that give a model, a run or an adapter a name: NAME=PATH, or PATH.
//
// Owns how they are read and that names are told apart. Not here: what lies there
// (formats/model_files.h, formats/adapter_files.h).
#pragma once

#include <string>
#include <vector>

namespace dure {

struct NamedPath {
  std::string name, path;
};

// Of a path alone its last folder is the name ("model" and "adapter" say nothing: then the one
// above), of an address its host and port. What has a "/" before its "=" is a path: names become
// names of files. Throws kInvalidArgument where one of them is empty; `what` is the argument's own
// name.
NamedPath named_path(const std::string& given, const char* what);

// Throws kInvalidArgument where two have one name as well.
std::vector<NamedPath> named_paths(const std::vector<std::string>& given, const char* what);

}  // namespace dure
