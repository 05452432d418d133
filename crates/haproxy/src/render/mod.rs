//! From services to text: the sections, the rules of host names, the layout, and the same in typed form. Pure.

mod form;
mod health;
mod layout;
mod renderer;
mod servers;
mod texts;
mod vhost;

pub use renderer::Renderer;
