// expect: no viable conversion|could not convert|cannot convert|conversion from .* requested
// Rows of one width are no rows of another.
#include "ivl/core/rows.hpp"

#ifdef IVL_CONTROL
inline constexpr int width = 16;
#else
inline constexpr int width = 8;
#endif

ivl::Rows<const float, 16> read_only(ivl::Rows<float, width> rows) { return rows; }
