// expect: Rows: columns outside the row
#include "ivl/core/rows.hpp"

#ifdef IVL_CONTROL
inline constexpr int number = 4;
#else
inline constexpr int number = 5;
#endif

auto last_columns(ivl::Rows<float, 12> rows) { return rows.columns<8, number>(); }
