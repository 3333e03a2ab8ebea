//! What the engine promises, seen from outside.

#[cfg(test)]
mod frames;
#[cfg(test)]
mod over;
#[cfg(test)]
mod talib;
