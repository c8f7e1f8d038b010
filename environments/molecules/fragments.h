// environments/molecules/fragments.h: molecules put together from fragments, without a model.
//
// Owns the table of rings, links and ends, and trees of them: drawn, changed, crossed, written as
// SMILES. Every tree is a molecule with right valences. Needs no RDKit. Not here: what a molecule
// is worth (target.h), searches (search.h).
#pragma once

#include <string>
#include <vector>

#include "base/rng.h"

namespace dure::molecules {

// A fragment and what hangs on its sites. A site without a child is a hydrogen.
struct Tree {
  int fragment = 0;
  std::vector<Tree> children;  // as many as the fragment has sites; fragment -1: none
  int size() const;            // fragments
};

Tree draw_tree(Rng& rng);
// One fragment or branch replaced, added or taken away.
Tree mutate(const Tree& tree, Rng& rng);
// A branch of `tree` replaced by one of `other`.
Tree cross(const Tree& tree, const Tree& other, Rng& rng);
std::string smiles_of(const Tree& tree);  // not canonical

}  // namespace dure::molecules
