//! `portreeve export`: a bundle in the forms that other tools take. The texts are the engine's; here they are written.

use std::fs;
use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use portreeve_auditor::{catalog_schema, governance, own_checks};
use portreeve_engine::{export, schema};

use crate::bundle;
use crate::files;
use crate::help;
use crate::outcome::{Failure, Outcome, Verdict};
use crate::output::{self, Out};

/// Arguments of `export`.
#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    /// Into which form.
    #[command(subcommand)]
    form: Form,
}

/// The forms.
#[derive(Debug, Subcommand)]
enum Form {
    /// Policies, schema and entities for Cedar's own tools; YAML permissions in the form that is their meaning
    #[command(after_help = help::EXPORT_CEDAR)]
    Cedar(CedarArgs),
    /// The JSON Schema of policy files, or of another kind of file, for editors
    #[command(name = "json-schema", after_help = help::EXPORT_SCHEMA)]
    JsonSchema(SchemaArgs),
}

#[derive(Debug, Args)]
struct SchemaArgs {
    /// Of which files
    #[arg(value_enum, default_value_t)]
    of: SchemaOf,
}

/// What a schema is of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum SchemaOf {
    /// Policy files
    #[default]
    Policy,
    /// Files of the governance folder
    Governance,
    /// What checks in Rego read as `input`
    CheckInput,
    /// What checks in Rego find: a member of `finding`
    CheckFinding,
    /// The configuration of an enforcer
    Enforcer,
    /// Control catalogues
    Catalog,
}

#[derive(Debug, Args)]
struct CedarArgs {
    /// A directory, a built bundle (.tar.gz), or REV:PATH of the enclosing git repository
    bundle: String,
    /// Print the schema instead of the policies
    #[arg(long, group = "what")]
    schema: bool,
    /// Print the entities instead of the policies
    #[arg(long, group = "what")]
    entities: bool,
    /// Write policies.cedar, schema.cedarschema and entities.json into this folder
    #[arg(long, group = "what", value_name = "DIR")]
    out: Option<PathBuf>,
}

/// Exports.
pub(crate) fn run(args: &ExportArgs) -> Outcome {
    match &args.form {
        Form::Cedar(args) => cedar(args),
        Form::JsonSchema(args) => {
            let mut out = Out::new();
            out.json_document(&match args.of {
                SchemaOf::Policy => schema::json_schema(),
                SchemaOf::Governance => governance::schema::json_schema(),
                SchemaOf::CheckInput => own_checks::input::json_schema(),
                SchemaOf::CheckFinding => own_checks::finding::json_schema(),
                SchemaOf::Catalog => catalog_schema::json_schema(),
                SchemaOf::Enforcer => portreeve_enforcer::config::json_schema(),
            })?;
            out.flush()?;
            Ok(Verdict::Yes)
        }
    }
}

fn cedar(args: &CedarArgs) -> Outcome {
    let bundle = bundle::load(&args.bundle)?.bundle;
    let authorizer = bundle::compiled(&args.bundle, &bundle)?;
    let export = export::cedar(&bundle, &authorizer).map_err(|e| Failure::new(format_args!("cannot export: {e}")))?;
    let Some(dir) = &args.out else {
        let text = match (args.schema, args.entities) {
            (true, _) => &export.schema,
            (_, true) => &export.entities,
            _ => &export.policies,
        };
        let mut out = Out::new();
        out.text(text)?;
        out.flush()?;
        return Ok(Verdict::Yes);
    };
    fs::create_dir_all(dir).map_err(|e| Failure::new(format_args!("cannot make `{}`: {e}", dir.display())))?;
    for (name, text) in [("policies.cedar", &export.policies), ("schema.cedarschema", &export.schema), ("entities.json", &export.entities)]
    {
        let path = dir.join(name);
        files::replace(&path, text.as_bytes(), 0o644).map_err(|e| Failure::new(format_args!("cannot write `{}`: {e}", path.display())))?;
    }
    output::tell(&format!("ok: wrote policies, schema and entities into `{}`\n", dir.display()));
    Ok(Verdict::Yes)
}
