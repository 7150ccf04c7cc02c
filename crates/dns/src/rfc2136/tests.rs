//! Updates as they are written down, and answers as they are believed.
